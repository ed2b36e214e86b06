package realtime

import (
	"sync/atomic"

	"github.com/picloud/picloud/budget"
)

// What is kept for subscribers is drawn from the node's budget: the rings, which give way
// when they fill their half of the share, since the journal has their events; and what
// sockets have not taken, without which a subscriber is cut, to come back with its cursor.

// ringBytes are what all rings hold, in steps of ringStep.
type ringBytes struct {
	limit  int64
	held   atomic.Int64
	shrunk atomic.Int64 // how much was left when the rings were last shrunk
}

const ringStep = 16 << 10

// account draws what the ring holds. The caller holds mu.
func (r *ring) account() {
	bytes := (r.bytes + ringStep - 1) / ringStep * ringStep
	if was := r.lease.Bytes(); bytes != was {
		r.lease.Set(bytes) // bounded by shrinkRings
		r.all.held.Add(int64(bytes - was))
	}
}

// forget gives back what the ring of a topic without subscribers holds.
func (r *ring) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(len(r.entries))
	r.account()
}

// shrink drops the oldest entries that have been offered, down to so many bytes.
func (r *ring) shrink(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	offered, left, n := r.offered(), r.bytes, 0
	for n < len(r.entries) && left > bytes && r.first+uint64(n) < offered { // #nosec G115 -- an index
		left -= int(r.entries[n].end - r.entries[n].start)
		n++
	}
	r.drop(n)
	r.account()
}

// shrinkRings makes room when all rings together hold too much: each keeps an equal part.
// A subscriber that still needs what goes reads it from the history. The caller holds mu.
func (h *Hub) shrinkRings() {
	b := &h.rings
	if held := b.held.Load(); held <= b.limit || held < b.shrunk.Load()+b.limit/16 {
		return
	}
	rings := 0
	for _, a := range h.apps {
		rings += len(a.rings)
	}
	for _, a := range h.apps {
		for _, r := range a.rings {
			r.shrink(int(b.limit) * 3 / 4 / rings)
		}
	}
	b.shrunk.Store(b.held.Load())
}

// unmeteredRest is how much of a frame a stream may keep without drawing: it is part of
// what each stream takes.
const unmeteredRest = 4 << 10

// keep keeps what the socket of a subscriber has not taken. It reports false when there
// is no room for it; then the subscriber is cut.
func (s *shard) keep(sub *subscriber, rest []byte) bool {
	if !s.roomFor(sub, len(rest)) {
		s.hub.metrics.cut.Inc()
		s.drop(sub)
		return false
	}
	sub.rest = append([]byte(nil), rest...)
	return true
}

// roomFor draws the memory of a rest. It reports whether there is room.
func (s *shard) roomFor(sub *subscriber, bytes int) bool {
	return bytes <= unmeteredRest || sub.lease.Try(bytes)
}

// keepFrame keeps the rest of the frame of an entry of which a part has been sent. It lies
// in a chunk, which all subscribers share that have stopped in it. When there is no room,
// the frame is read again when the socket takes bytes. It reports false when that cannot
// be; then the subscriber is cut.
func (s *shard) keepFrame(sub *subscriber, e *entry, sent int) bool {
	rest := e.chunk[int(e.start)+sent : e.end]
	if len(rest) <= unmeteredRest {
		return s.keep(sub, rest)
	}
	chunk := &e.chunk[0]
	h := s.held[chunk]
	if h == nil {
		lease := s.hub.cfg.Budget.Lease(budget.Streams, budget.Party{App: sub.sub.App})
		switch {
		case lease.Try(cap(e.chunk)):
			h = &heldChunk{lease: lease}
			s.held[chunk] = h
		case e.relayed: // the history here does not have it
			s.hub.metrics.cut.Inc()
			s.drop(sub)
			return false
		default:
			sub.state, sub.finish, sub.last = stateCatchup, true, false
			sub.partial, sub.skip, sub.cursor = e.seq, sent, e.seq-1
			return true
		}
	}
	h.subscribers++
	sub.rest, sub.chunk = rest, chunk
	return true
}

// heldChunk is a chunk that subscribers of a shard hold.
type heldChunk struct {
	subscribers int
	lease       budget.Lease
}

// forgetRest gives back the memory of what a subscriber has kept.
func (s *shard) forgetRest(sub *subscriber) {
	sub.rest = nil
	sub.lease.Release()
	if sub.chunk == nil {
		return
	}
	h := s.held[sub.chunk]
	if h.subscribers--; h.subscribers == 0 {
		h.lease.Release()
		delete(s.held, sub.chunk)
	}
	sub.chunk = nil
}
