// Package hw is the board: how it is, and the pins that the configuration has
// given names.
//
// Pins are reached through the character devices of the kernel (GPIO uAPI v2),
// or simulated. A board without what is asked for is no fault of the node: it
// runs, and users of a pin are told what is missing and what to do.
//
// An output is set by requests (outputs.go), which may be pulses, or follows the events
// of a topic (follow.go).
//
// The edges of an input (edge.go) go through a state machine of times and levels
// (signal.go), which debounces, recognises gestures and counts, and waits for nothing; what
// it tells becomes events of the input's app, as the device (input.go).
//
// The package knows nothing of who may do what: a pin belongs to an app, and callers say
// in whose name they ask.
package hw
