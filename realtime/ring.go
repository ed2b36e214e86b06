package realtime

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
)

const (
	minRetain  = 512      // entries a ring keeps at least, for those at the seam
	maxEntries = 16 << 10 // more are not kept for anybody
	maxBytes   = 8 << 20
	chunkSize  = 32 << 10
)

// ring holds the newest frames of one topic, as long as it has subscribers.
// Frames lie one behind the other in chunks that never change where they have
// been read, so that many frames in a row leave in one write.
type ring struct {
	topic       string
	retain      int
	subscribers int            // guarded by Hub.mu
	members     []atomic.Int32 // subscribers per shard
	all         *ringBytes

	mu      sync.Mutex // guards what follows
	entries []entry    // oldest first
	first   uint64     // index of entries[0]: how many were there before it
	evicted uint64     // sequence up to which events are not here
	bytes   int
	chunk   []byte       // open for appending
	acked   []uint64     // index up to which each shard has offered entries to its subscribers
	edges   []edgeEntry  // those entries that tell of an edge
	lease   budget.Lease // of the bytes, in steps
}

// entry is one frame. One of another node has no sequence here: it takes that of
// the entry before it, and stays behind it.
type entry struct {
	seq        uint64
	chunk      []byte // the whole chunk as far as it went
	start, end int32
	relayed    bool // from another node
}

// edgeEntry is an entry that tells of an edge of an input.
type edgeEntry struct {
	index uint64
	at    time.Time // of the edge
}

// passed reports whether a subscriber who has everything up to a sequence has
// the entry too. Entries of other nodes are never replayed.
func (e *entry) passed(cursor uint64) bool { return !e.relayed && e.seq <= cursor }

func newRing(h *Hub, topic string, last uint64) *ring {
	return &ring{topic: topic, all: &h.rings, lease: h.cfg.Budget.Lease(budget.Streams, budget.Party{}), retain: h.retain, members: make([]atomic.Int32, h.cfg.Shards), acked: make([]uint64, h.cfg.Shards), evicted: last}
}

// add encodes an event. Older entries go when no subscriber may need them any more, or
// when there are too many: large events must not fill a small board's memory.
func (r *ring) add(e *picloud.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	need := frameSize(e)
	if cap(r.chunk)-len(r.chunk) < need {
		r.chunk = make([]byte, 0, max(need, min(chunkSize, max(1024, 2*cap(r.chunk)))))
	}
	start, seq := len(r.chunk), e.Seq
	if e.Node != "" {
		seq = r.evicted
		if n := len(r.entries); n > 0 {
			seq = r.entries[n-1].seq
		}
	}
	r.chunk = appendFrame(r.chunk, e)
	r.entries = append(r.entries, entry{seq: seq, relayed: e.Node != "", chunk: slices.Clip(r.chunk), start: int32(start), end: int32(len(r.chunk))}) // #nosec G115 -- chunks are small
	r.bytes += len(r.chunk) - start
	if e.Edge != nil {
		r.addEdge(*e.Edge)
	}
	r.trim()
	r.account()
}

// addEdge notes that the newest entry tells of an edge, and forgets those that all shards
// have noted.
func (r *ring) addEdge(at time.Time) {
	index := r.first + uint64(len(r.entries)) - 1 // #nosec G115 -- there is one
	for offered := r.offered(); len(r.edges) > 0 && r.edges[0].index < offered; {
		r.edges = r.edges[1:]
	}
	r.edges = append(r.edges, edgeEntry{index, at})
}

// trim drops entries that are not needed, and those beyond the bounds.
func (r *ring) trim() {
	offered, bytes := r.offered(), r.bytes
	n := 0
	for kept := len(r.entries); kept > 1; kept-- {
		unneeded := kept > r.retain && r.first+uint64(n) < offered // #nosec G115 -- an index
		if !unneeded && kept <= maxEntries && bytes <= maxBytes {
			break
		}
		bytes -= int(r.entries[n].end - r.entries[n].start)
		n++
	}
	r.drop(n)
}

// offered returns up to which index all shards have offered entries to their subscribers.
func (r *ring) offered() uint64 {
	offered := r.first + uint64(len(r.entries))
	for i := range r.members {
		if r.members[i].Load() > 0 {
			offered = min(offered, r.acked[i])
		}
	}
	return offered
}

// drop drops the oldest n entries.
func (r *ring) drop(n int) {
	for _, e := range r.entries[:n] {
		r.evicted = e.seq
		r.bytes -= int(e.end - e.start)
	}
	if r.entries = r.entries[n:]; len(r.entries) == 0 {
		r.entries, r.chunk = nil, nil
	}
	r.first += uint64(n) // #nosec G115 -- an index
	for len(r.edges) > 0 && r.edges[0].index < r.first {
		r.edges = r.edges[1:]
	}
}

// view is what a ring held at one moment. Its entries do not change.
type view struct {
	entries []entry
	first   uint64
}

func (v *view) end() uint64 { return v.first + uint64(len(v.entries)) }

func (v *view) at(index uint64) *entry { return &v.entries[index-v.first] }

// before returns a sequence that no event before an index is above; 0: there is none.
func (v *view) before(index uint64) uint64 {
	switch {
	case index > v.first:
		return v.at(index - 1).seq
	case index < v.end():
		return v.at(index).seq - 1
	}
	return 0
}

func (r *ring) view() view {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.entries)
	return view{entries: r.entries[:n:n], first: r.first}
}

func (r *ring) end() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first + uint64(len(r.entries))
}

// ack notes that a shard has offered everything before index to its
// subscribers. It appends to a list when the edges were of which the entries tell that
// it has not noted before.
func (r *ring) ack(shard int, index uint64, edges []time.Time) []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.edges {
		if e := &r.edges[i]; e.index >= r.acked[shard] && e.index < index {
			edges = append(edges, e.at)
		}
	}
	r.acked[shard] = max(r.acked[shard], index)
	return edges
}

// seek returns the index of the first entry after a sequence. It is false when
// the ring may lack events after it.
func (r *ring) seek(after uint64) (index uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if after < r.evicted {
		return 0, false
	}
	lo, hi := 0, len(r.entries)
	for lo < hi {
		mid := (lo + hi) / 2
		if r.entries[mid].seq > after {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return r.first + uint64(lo), true // #nosec G115 -- an index
}
