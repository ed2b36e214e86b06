// Package picloud holds the vocabulary of a PiCloud node: apps, topics, events,
// positions, principals, scopes, keys and errors, as pure values.
//
// Every other package speaks in these words, so this one imports nothing but
// the standard library and does nothing on its own: no I/O, no clock, no
// goroutine. Rules that follow from a value alone (which names are valid, which
// scope a capability needs) are here; rules that need state are in package
// store.
package picloud
