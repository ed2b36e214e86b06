// Package store keeps everything a node knows. It owns the committer, the one
// goroutine that decides, orders and makes durable whatever happens; the tables
// that follow from the journal; and the reading of history.
//
// It does not decide who may do what (package auth and the callers do), does
// not speak any protocol, and does not talk to subscribers: it hands committed
// events, in order, to the Broadcaster it was given.
package store
