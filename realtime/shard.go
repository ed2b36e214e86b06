package realtime

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
)

// shard owns some of the subscribers. Only its goroutine touches them.
type shard struct {
	id     int
	hub    *Hub
	poller *poller
	wake   chan struct{} // has room for one
	beat   chan struct{} // has no room: the goroutine takes from it when it goes round

	mu     sync.Mutex // guards what follows
	inbox  []message
	dirty  []*ring // have news since the last round
	woken  bool    // a wake is in the channel or about to be handled
	closed bool    // nothing is taken in any more

	// The goroutine's own.
	now         time.Time
	up          time.Duration // since the hub began: does not jump
	watchUp     time.Duration // when peers are looked at next
	messages    []message
	rings       []*ring
	subscribers []*subscriber
	byFD        map[int]*subscriber
	held        map[*byte]*heldChunk // by the first byte of the chunk
	members     map[*ring][]*subscriber
	watchers    map[*subscriber]struct{} // those that carry states
	scratch     []byte
	records     []byte // encrypted, for a socket
	merge       []merged
	views       []view
	edges       []time.Time
	nextID      int32
	stopping    bool
}

// message is something for the shard's goroutine to do.
type message struct {
	kind       msgKind
	sub        *subscriber
	page       page
	events     []unix.EpollEvent
	revocation picloud.Revocation
	ending     ending
}

type msgKind uint8

const (
	msgAdd    msgKind = iota
	msgEnd            // sub, with ending
	msgPage           // sub, page: what a replayer read
	msgEvents         // events of the poller
	msgRevoke
	msgState // a state has a new value
	msgBye   // to all, with ending
	msgStop
)

func newShard(h *Hub, id int) (*shard, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &shard{id: id, hub: h, poller: p, wake: make(chan struct{}, 1), beat: make(chan struct{}), byFD: map[int]*subscriber{}, held: map[*byte]*heldChunk{}, members: map[*ring][]*subscriber{}, watchers: map[*subscriber]struct{}{}}, nil
}

// post gives the shard something to do. It reports false when the shard has
// ended.
func (s *shard) post(m message) bool {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	s.inbox = append(s.inbox, m)
	wake := !s.woken
	s.woken = true
	s.mu.Unlock()
	if wake {
		s.wake <- struct{}{} // has room: only one at a time is on its way
	}
	return true
}

func (s *shard) markDirty(r *ring) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.dirty) - 1; i >= 0 && i >= len(s.dirty)-8; i-- {
		if s.dirty[i] == r {
			return
		}
	}
	s.dirty = append(s.dirty, r)
}

func (s *shard) wakeDirty() {
	s.mu.Lock()
	wake := !s.woken && len(s.dirty) > 0
	if wake {
		s.woken = true
	}
	s.mu.Unlock()
	if wake {
		s.wake <- struct{}{}
	}
}

// poll hands the poller's events to the shard.
func (s *shard) poll() {
	s.poller.wait(func(events []unix.EpollEvent) {
		s.post(message{kind: msgEvents, events: append([]unix.EpollEvent(nil), events...)})
	})
}

// run serves the shard's subscribers until msgStop.
func (s *shard) run() {
	defer s.poller.close()
	tick := min(time.Second, s.hub.cfg.Heartbeat/4, s.hub.cfg.WriteTimeout/4)
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for !s.stopping {
		var due <-chan time.Time
		if len(s.subscribers) > 0 {
			due = timer.C
		}
		select {
		case <-s.beat:
		case <-s.wake:
			s.begin()
			s.round()
		case <-due:
			s.begin()
			s.inspect()
			timer.Reset(tick)
		}
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.round() // what came in before
	s.dismiss(reasonShutdown)
}

// dismiss ends all streams.
func (s *shard) dismiss(reason string) {
	frame := appendControl(nil, "bye", ending{Reason: reason})
	for len(s.subscribers) > 0 {
		s.end(s.subscribers[0], frame)
	}
}

func (s *shard) begin() {
	s.now, s.up = s.hub.cfg.Now(), time.Since(s.hub.began)
}

// round handles what has come in, then writes what is new.
func (s *shard) round() {
	s.mu.Lock()
	s.inbox, s.messages = s.messages[:0], s.inbox
	s.dirty, s.rings = s.rings[:0], s.dirty
	s.woken = false
	s.mu.Unlock()
	for i := range s.messages {
		s.handle(&s.messages[i])
	}
	clear(s.messages)
	for _, r := range s.rings {
		s.offer(r)
	}
	clear(s.rings)
}

func (s *shard) handle(m *message) {
	switch m.kind {
	case msgAdd:
		s.add(m.sub)
	case msgEnd:
		s.end(m.sub, appendControl(s.scratch[:0], "expired", m.ending))
	case msgPage:
		s.takePage(m.sub, &m.page)
		if cap(m.page.frames) > 2*pageBytes {
			m.page.frames = nil
		}
		m.page.taken <- m.page.frames // there is room
	case msgEvents:
		for i := range m.events {
			s.ready(&m.events[i])
		}
	case msgRevoke:
		s.revoke(&m.revocation)
	case msgState:
		for sub := range s.watchers {
			s.offerStates(sub)
		}
	case msgBye:
		s.dismiss(m.ending.Reason)
	case msgStop:
		s.stopping = true
	}
}

// add takes a subscriber over. It has joined its rings already.
func (s *shard) add(sub *subscriber) {
	s.nextID++
	sub.id = s.nextID
	if sub.expires != 0 {
		s.endAt(sub, sub.expires)
	}
	sub.slot = len(s.subscribers)
	s.subscribers = append(s.subscribers, sub)
	s.byFD[sub.fd] = sub
	for i := range sub.cursors {
		r := sub.cursors[i].ring
		sub.cursors[i].slot = len(s.members[r])
		s.members[r] = append(s.members[r], sub)
	}
	if len(sub.watches) > 0 {
		s.watchers[sub] = struct{}{}
	}
	sub.lastSent, sub.stalledAt = s.up, s.up
	if err := s.poller.add(sub.fd, sub.id); err != nil {
		s.hub.log.Warn("subscriber could not be watched", slog.Any("err", err))
		s.drop(sub)
		return
	}
	if sub.sub.Start.Mode != picloud.StartLive || len(sub.sub.Latest) > 0 {
		s.hub.replay.add(sub)
		return
	}
	resume := sub.position(sub.cursor)
	s.scratch = appendID(sub.appendHello(s.scratch[:0], &resume, false), resume)
	sub.state = stateLive
	if s.write(sub, s.scratch) {
		s.offerTo(sub)
	}
}

// endAt ends the right of a subscriber at a time in seconds, and no later when the
// clock is set back meanwhile.
func (s *shard) endAt(sub *subscriber, seconds int64) {
	sub.expires = seconds
	sub.endsUp = s.up + time.Duration(min(seconds-s.now.Unix()+1, maxRight))*time.Second
}

// maxRight is more seconds than any right that ends lasts for: a hundred years.
const maxRight = 100 * 365 * 24 * 60 * 60

// ready handles one event of the poller.
func (s *shard) ready(ev *unix.EpollEvent) {
	sub := s.byFD[int(ev.Fd)]
	if sub == nil || sub.id != ev.Pad {
		return // of one that is gone
	}
	if ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.drop(sub)
		return
	}
	if !sub.blocked {
		return
	}
	stalled, sent := sub.stalledAt, sub.sent
	sub.blocked = false
	switch n, err := s.send(sub, sub.rest); {
	case err != nil:
		s.drop(sub)
	case n < len(sub.rest) || sub.sealed.waits():
		sub.rest = sub.rest[n:]
		s.stall(sub)
	default:
		s.forgetRest(sub)
		s.resume(sub)
	}
	if sub.blocked && sub.sent == sent {
		sub.stalledAt = stalled // took nothing after all
	}
}

// stall notes that the socket takes nothing more.
func (s *shard) stall(sub *subscriber) {
	sub.blocked = true
	sub.stalledAt = s.up
}

// watch cuts a subscriber whose peer takes nothing, and reports whether it has. The kernel
// reports room only when much of the socket's buffer is free, and counts time without room
// (TCP_USER_TIMEOUT), which both cut a reader that takes little: so it is asked what the
// peer has still to take.
func (s *shard) watch(sub *subscriber) bool {
	queued, err := unix.IoctlGetInt(sub.fd, unix.SIOCOUTQ)
	if err != nil {
		queued = 0 // what is wrong with the socket is told by the poller
	}
	taken := sub.sent - int64(queued)
	if queued == 0 && !sub.blocked || taken > sub.taken {
		sub.stalledAt = s.up
	}
	sub.taken = taken
	if s.up-sub.stalledAt < s.hub.cfg.WriteTimeout {
		return false
	}
	s.hub.metrics.cut.Inc()
	s.drop(sub)
	return true
}

// resume goes on with a subscriber whose socket takes bytes again.
func (s *shard) resume(sub *subscriber) {
	switch sub.state {
	case stateLive:
		s.catchBreath(sub)
	case stateCatchup:
		s.pageWritten(sub)
	case stateClosed:
	}
}

// write sends bytes and keeps what the socket does not take, which it copies.
// It reports whether everything went out and the subscriber is still there.
func (s *shard) write(sub *subscriber, b []byte) bool {
	n, err := s.send(sub, b)
	if err != nil {
		s.drop(sub)
		return false
	}
	if n < len(b) {
		if s.keep(sub, b[n:]) {
			s.stall(sub)
		}
		return false
	}
	return true
}

// send writes as much as the socket takes.
func (s *shard) send(sub *subscriber, b []byte) (int, error) {
	if sub.sealed != nil {
		return s.sendSealed(sub, b)
	}
	return s.push(sub, b)
}

// push writes as much as the socket takes, as it is.
func (s *shard) push(sub *subscriber, b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := writeSocket(sub.fd, b[done:])
		if n > 0 {
			done += n
			sub.lastSent = s.up
			sub.sent += int64(n)
			s.hub.metrics.bytes.Add(n)
		}
		switch {
		case err == nil:
		case errors.Is(err, unix.EAGAIN):
			return done, nil
		case errors.Is(err, unix.EINTR):
		default:
			return done, err
		}
	}
	return done, nil
}

// inspect looks after time: rights that end, silence, sockets that take
// nothing.
func (s *shard) inspect() {
	seconds := s.now.Unix()
	silent := s.up - s.hub.cfg.Heartbeat
	watches := s.up >= s.watchUp
	if watches {
		s.watchUp = s.up + s.hub.cfg.WriteTimeout/4
	}
	for _, sub := range slices.Backward(s.subscribers) { // ending one moves the last, which was seen, into its place
		if watches && (sub.blocked || sub.tcp) && s.watch(sub) {
			continue
		}
		switch {
		case sub.expires != 0 && (seconds >= sub.expires || s.up >= sub.endsUp):
			s.end(sub, appendControl(s.scratch[:0], "expired", ending{Reason: reasonToken}))
		case !sub.blocked && sub.state == stateLive && sub.lastSent <= silent: // in catch-up it could cut into the page on its way
			s.write(sub, heartbeat)
		}
	}
}

// end tells a subscriber why and closes it. What the socket does not take at
// once is not worth waiting for.
func (s *shard) end(sub *subscriber, frame []byte) {
	if sub.state == stateClosed {
		return
	}
	if !sub.blocked && sub.skip == 0 {
		if !sub.opened {
			frame = append(sub.appendHello(nil, nil, false), frame...)
		}
		n, err := s.send(sub, frame) // it is going to be closed anyway
		if sub.sealed != nil && err == nil && n == len(frame) {
			s.endSealed(sub)
		}
		_ = unix.Shutdown(sub.fd, unix.SHUT_WR)
	}
	s.drop(sub)
}

// drop forgets a subscriber and closes its socket.
func (s *shard) drop(sub *subscriber) {
	if sub.state == stateClosed {
		return
	}
	sub.state = stateClosed
	last := len(s.subscribers) - 1
	s.subscribers[sub.slot] = s.subscribers[last]
	s.subscribers[sub.slot].slot = sub.slot
	s.subscribers[last] = nil
	s.subscribers = s.subscribers[:last]
	delete(s.byFD, sub.fd)
	for i := range sub.cursors {
		s.dropMember(sub, i)
	}
	delete(s.watchers, sub)
	_ = unix.Close(sub.fd) // takes it out of the poller too
	s.hub.leave(sub)
	sub.seat.Release()
	s.forgetRest(sub)
	sub.sealed.forgetRest()
}

func (s *shard) dropMember(sub *subscriber, i int) {
	r, slot := sub.cursors[i].ring, sub.cursors[i].slot
	m := s.members[r]
	last := len(m) - 1
	moved := m[last]
	m[slot] = moved
	for k := range moved.cursors {
		if moved.cursors[k].ring == r {
			moved.cursors[k].slot = slot
		}
	}
	m[last] = nil
	if last == 0 {
		delete(s.members, r)
		return
	}
	s.members[r] = m[:last]
}
