// Package realtime takes committed events to live subscribers over Server-Sent
// Events, for less than a goroutine and a copy each.
//
// A frame is encoded once per event into the ring of its topic, which all
// subscribers share. A subscriber is a socket and a cursor:
//
//	Attach                        behind what the rings hold
//	  │     since, resume ┌─────────┐◀──────────────┐
//	  ├──────────────────▶│ catchup │  (lossless)   │
//	  │                   └────┬────┘               │
//	  │ next event    at the seam │           ┌─────┴───┐
//	  └─────────────────────▶ live ──────────▶│ blocked │
//	                           ▲   socket full└────┬────┘
//	                           └───────────────────┘
//	                             writable; a gap frame when
//	                             more was missed than the capacity
//
// A few shards own disjoint sets of subscribers. Each has one goroutine that
// writes without blocking and one that waits for its sockets; a socket that does
// not take its bytes is left alone until it does, or cut after the write
// deadline. Catching up reads the durable history in pages, in a few goroutines
// that all subscribers share: register first, replay up to what the rings hold,
// then live, so that the seam has neither a gap nor a duplicate.
//
// A state is a topic of which only the newest value counts. It has no ring, no id
// and no history: a shard writes the newest value to a stream that has not seen
// it, and one whose socket is full gets the one that is newest when it is not.
//
// The package does not decide who may subscribe: the caller does, and says for
// how long and until which revocation. It does not parse requests.
package realtime
