// Package hw is the board: how it is, and the pins that the configuration has
// given names.
//
// Pins are reached through the character devices of the kernel (GPIO uAPI v2),
// or simulated. A board without what is asked for is no fault of the node: it
// runs, and whoever uses a pin hears what is missing and what to do.
//
// An output is set by requests (outputs.go), which may be pulses, or follows the events
// of a topic (follow.go).
//
// It publishes nothing and knows nothing of who may do what: a pin belongs to an
// app, and whoever asks says in whose name.
package hw
