package realtime

import (
	"cmp"
	"slices"
	"time"
)

// merged is an entry of one of several rings.
type merged struct {
	entry  *entry
	cursor int
	index  uint64
}

// offer writes what is new in a ring to its subscribers that take bytes.
func (s *shard) offer(r *ring) {
	members := s.members[r]
	if len(members) == 0 {
		return
	}
	bound := members[0].app.last.Load()
	v := r.view()
	for _, sub := range slices.Backward(members) { // dropping one moves the last, which was seen, into its place
		if sub.state != stateLive || sub.blocked {
			continue
		}
		if len(sub.cursors) == 1 {
			s.offerOne(sub, &v)
		} else {
			s.offerMany(sub)
		}
	}
	offered := v.end()
	for offered > v.first && v.at(offered-1).seq > bound {
		offered-- // streams of several topics have to come back for it
	}
	s.edges = r.ack(s.id, offered, s.edges[:0])
	for _, at := range s.edges {
		s.hub.metrics.edges.Update(time.Since(at).Seconds())
	}
}

// offerTo writes what is new to one subscriber, events before states.
func (s *shard) offerTo(sub *subscriber) {
	if len(sub.cursors) == 1 {
		v := sub.cursors[0].ring.view()
		s.offerOne(sub, &v)
	} else {
		s.offerMany(sub)
	}
	s.offerStates(sub)
}

// offerOne writes the entries of its only topic from its cursor on. Frames that
// lie one behind the other leave in one write.
func (s *shard) offerOne(sub *subscriber, v *view) {
	c := &sub.cursors[0]
	if c.next < v.first { // even the ring's last bound was passed
		s.behind(sub)
		return
	}
	for c.next < v.end() && v.at(c.next).passed(sub.cursor) {
		c.next++ // came by replay already
	}
	for c.next < v.end() {
		from := v.at(c.next)
		to, n := c.next, from
		for to+1 < v.end() {
			if e := v.at(to + 1); &e.chunk[0] != &from.chunk[0] {
				break
			}
			to++
			n = v.at(to)
		}
		b := n.chunk[from.start:n.end]
		sent, err := s.send(sub, b)
		if err != nil {
			s.drop(sub)
			return
		}
		if sent < len(b) {
			s.block(sub, v, b, sent)
			return
		}
		s.hub.metrics.deliveries.Add(int(to - c.next + 1)) // #nosec G115 -- a count
		c.next = to + 1
		sub.cursor = max(sub.cursor, n.seq)
	}
}

// block notes where a write of several frames was cut short: the frame it was
// cut in is kept to its end, those behind it stay in the ring.
func (s *shard) block(sub *subscriber, v *view, b []byte, sent int) {
	c := &sub.cursors[0]
	start := v.at(c.next).start
	done := uint64(0)
	var cut *entry // what the frame is of in which it was cut short
	part := 0      // bytes of that which have been sent
	for c.next < v.end() {
		e := v.at(c.next)
		if int(e.start-start) >= sent || int(e.end-start) > len(b) {
			break // has not been begun
		}
		c.next++
		sub.cursor = max(sub.cursor, e.seq)
		done++
		if int(e.end-start) > sent {
			cut, part = e, sent-int(e.start-start)
			break
		}
	}
	s.hub.metrics.deliveries.Add(int(done)) // #nosec G115 -- a count
	if cut == nil || s.keepFrame(sub, cut, part) {
		s.stall(sub)
	}
}

// offerMany writes the entries of several topics in the order of the app. Only
// what the hub has taken in whole is looked at: otherwise a later event of one
// topic could overtake an earlier one of another.
func (s *shard) offerMany(sub *subscriber) {
	bound := sub.app.last.Load()
	s.merge, s.views = s.merge[:0], s.views[:0]
	for i := range sub.cursors {
		c := &sub.cursors[i]
		v := c.ring.view()
		s.views = append(s.views, v)
		if c.next < v.first {
			s.behind(sub)
			return
		}
		for k := c.next; k < v.end() && v.at(k).seq <= bound; k++ {
			if v.at(k).passed(sub.cursor) {
				c.next = k + 1
				continue
			}
			s.merge = append(s.merge, merged{entry: v.at(k), cursor: i, index: k})
		}
	}
	slices.SortStableFunc(s.merge, func(a, b merged) int { return cmp.Compare(a.entry.seq, b.entry.seq) })
	for len(s.merge) > 0 && !sub.blocked {
		s.scratch = s.scratch[:0]
		n := 0
		for n < len(s.merge) && (n == 0 || len(s.scratch) < mergeBytes) {
			e := s.merge[n].entry
			s.scratch = append(s.scratch, e.chunk[e.start:e.end]...)
			n++
		}
		if !s.writeMerged(sub, s.merge[:n]) {
			return
		}
		s.merge = s.merge[n:]
	}
}

// mergeBytes is how much of several topics is copied together for one write.
const mergeBytes = 64 << 10

// writeMerged writes what scratch holds of the entries. It reports whether the
// subscriber is still there.
func (s *shard) writeMerged(sub *subscriber, entries []merged) bool {
	sent, err := s.send(sub, s.scratch)
	if err != nil {
		s.drop(sub)
		return false
	}
	begun := 0 // bytes of the entries up to and including the last
	var last *entry
	for i := range entries {
		if begun >= sent && sent < len(s.scratch) {
			break // has not been begun
		}
		e := entries[i].entry
		last = e
		begun += int(e.end - e.start)
		sub.cursors[entries[i].cursor].next = entries[i].index + 1
		sub.cursor = max(sub.cursor, e.seq)
		s.hub.metrics.deliveries.Inc()
	}
	if sent < len(s.scratch) {
		if begun > sent && !s.keepFrame(sub, last, int(last.end-last.start)-(begun-sent)) {
			return false
		}
		s.stall(sub)
	}
	return true
}

// catchBreath goes on with a live subscriber whose socket was full: it is told
// what it has missed when that is more than the capacity, or refilled if it
// asked for that.
func (s *shard) catchBreath(sub *subscriber) {
	capacity := uint64(s.hub.cfg.Capacity) // #nosec G115 -- positive
	for i := range sub.cursors {
		c := &sub.cursors[i]
		v := c.ring.view()
		if c.next < v.first || v.end()-c.next > capacity {
			s.behind(sub)
			return
		}
	}
	s.offerTo(sub)
}

// behind handles a subscriber that is further behind than the capacity.
func (s *shard) behind(sub *subscriber) {
	if sub.sub.Lossless {
		sub.state = stateCatchup
		s.hub.replay.add(sub)
		return
	}
	capacity := uint64(s.hub.cfg.Capacity) // #nosec G115 -- positive
	bound := sub.app.last.Load()
	after := sub.cursor
	var missed, next, until uint64
	var topics map[string]uint64
	for i := range sub.cursors {
		c := &sub.cursors[i]
		v := c.ring.view()
		for v.end() > v.first && v.at(v.end()-1).seq > bound {
			v.entries = v.entries[:len(v.entries)-1]
		}
		from := max(v.first, v.end()-min(v.end(), capacity))
		if from > c.next {
			if topics == nil {
				topics = map[string]uint64{}
			}
			topics[c.ring.topic] = from - c.next
			missed += from - c.next
			c.next = from
			until = max(until, v.before(from))
		}
		if c.next < v.end() && (next == 0 || v.at(c.next).seq < next) {
			next = v.at(c.next).seq
		}
	}
	if missed == 0 {
		s.offerTo(sub)
		return
	}
	s.hub.metrics.gaps.Inc()
	s.hub.metrics.dropped.Add(int(missed)) // #nosec G115 -- a count
	g := gap{Missed: missed, After: sub.position(after), Next: sub.position(next), Until: sub.position(until), Topics: topics}
	s.scratch = appendControl(s.scratch[:0], "gap", g)
	if s.write(sub, s.scratch) {
		s.offerTo(sub)
	}
}
