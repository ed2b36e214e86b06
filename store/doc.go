// Package store keeps everything a node knows.
//
// It owns the committer, the one goroutine that decides, orders and makes
// durable whatever happens; the tables that follow from the journal; and the
// reading of history.
//
//	commands ─▶ intake ─▶ committer: prepare in order ─▶ journal: one write, one fdatasync
//	                                                          │
//	     callers answered ◀─ broadcaster told ◀─ tables changed ◀─┘
//
// The journal is the truth. The tables are what follows from it: the catalog
// (apps, topics, keys) is held in memory as a whole, everything else in a small
// ordered table in memory over state.db, a checkpoint that is written now and
// then together with the journal position it reaches. Starting means opening
// state.db and replaying the journal from there.
//
// The files of a data directory:
//
//	lock       held by the running daemon
//	node.json  who this node is
//	journal/   the log
//	state.db   the checkpoint (bbolt)
//	cache.db   what other nodes shared (bbolt); rebuilt when it is lost
//	damaged/   what was set aside, under dated names
//
// The package does not decide who may do what (package auth and the callers
// do), does not speak any protocol, and does not talk to subscribers: it hands
// committed events, in order, to the Broadcaster it was given.
package store
