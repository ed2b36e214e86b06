// Package script runs the JavaScript of apps, which is written by people who
// make mistakes and sometimes by people who mean harm.
//
//	Runner.Do ─▶ a worker of the app ══ frames over a socket pair ══▶ Work: a fresh engine
//	                   │                                                  │
//	               Host.Call ◀──────────── calls of the SDK ──────────────┘
//
// Scripts run in worker processes only: this binary, executed again. Three
// layers hold one back: the engine (memory, time, depth of calls), whose limits
// the script sees as exceptions; the process, which is killed when the engine
// cannot be stopped; and the kernel, which denies it files, sockets, other programs
// and capabilities. Each run gets a fresh engine, so nothing is left of one in the next,
// and a worker that has run a script of one app never runs one of another.
// Whatever a worker says is taken for hostile.
//
// The package knows nothing of triggers, HTTP or where scripts are kept, and
// decides nothing about rights: what a script asks for goes to the Host it was
// given, together with the app the script belongs to.
package script
