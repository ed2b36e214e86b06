// Package scrub looks at everything that a node keeps before it is needed, so that damage
// is found while there is another copy of it: quietly once a week, and at full speed when
// an operator asks.
//
// It does not know what to check, nor what to do about damage: the store does.
package scrub
