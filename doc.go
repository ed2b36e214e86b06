// Package picloud holds the vocabulary of a PiCloud node: apps, topics, events,
// positions, principals, scopes, keys and errors, as pure values.
//
// Every other package speaks in these words, so this one imports nothing but
// the standard library and does nothing on its own: no I/O, no clock, no
// goroutine. Which scope a capability needs is decided here. Which values are valid
// is decided in package check; rules that need state are in package store. Nothing
// here parses what clients send, but for positions.
package picloud
