// Package sweeper removes abandoned temporary files that a crash or
// a cut line left behind, and whatever else it is given as a task. It works at the
// start and every six hours.
//
// It does not decide what belongs to whom: a task does, and knows why what it
// removes is garbage.
package sweeper
