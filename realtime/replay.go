package realtime

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud"
)

// page is what a replayer has read for a subscriber.
type page struct {
	start   uint64 // of the first page: the cursor to begin with
	resume  string // of the first page: the same, as its text
	resumed bool   // of the first page: the cursor was the caller's
	reset   string // of the first page: why the caller's cursor was not taken
	frames  []byte
	front   int        // bytes of frames that come before, and cannot be read again
	ends    []frameEnd // of the frames behind them
	events  int
	next    uint64 // the cursor after it
	last    bool   // there was nothing more to read
	err     error

	taken chan<- []byte // gets the frames back when the page is not needed any more
}

// frameEnd says where a frame of a page ends, and the cursor behind it.
type frameEnd struct {
	offset int
	seq    uint64
}

// replayQueue holds the subscribers that wait for a page. Each is there at most
// once, so it is bounded by their number.
type replayQueue struct {
	mu      sync.Mutex // guards what follows
	waiting []*subscriber
	ready   *sync.Cond
	closed  bool
}

func (q *replayQueue) init() { q.ready = sync.NewCond(&q.mu) }

func (q *replayQueue) add(s *subscriber) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, s)
	q.ready.Signal()
}

func (q *replayQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Broadcast()
}

func (q *replayQueue) next() *subscriber {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.ready.Wait()
	}
	if q.closed {
		return nil
	}
	s := q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	return s
}

// work reads pages for subscribers that wait, one page at a time, so that a long replay
// does not keep others waiting. It goes on when the shard has taken the page: there are as
// many pages at a time as there are workers.
func (q *replayQueue) work(ctx context.Context, h *Hub) {
	taken := make(chan []byte, 1)
	var frames []byte
	for {
		s := q.next()
		if s == nil {
			return
		}
		p := h.read(ctx, s, frames[:0])
		p.taken = taken
		if !s.shard.post(message{kind: msgPage, sub: s, page: p}) {
			continue
		}
		select {
		case frames = <-taken:
		case <-ctx.Done():
			return
		}
	}
}

const (
	pageBytes = 256 << 10
	pageLimit = 512
)

// read reads the next page for a subscriber, which belongs to the replayer
// meanwhile. The frames are appended to a buffer.
func (h *Hub) read(ctx context.Context, s *subscriber, frames []byte) page {
	p := page{start: s.cursor, next: s.cursor, frames: frames}
	if s.limit == 0 {
		s.limit = pageLimit / 8
	}
	if !s.opened {
		done := h.begin(ctx, s, &p)
		p.front = len(p.frames)
		if done || p.err != nil {
			return p
		}
	} else if h.overtaken(s, &p) {
		return p
	}
	limit := s.limit
	if s.finish {
		limit = 1
	}
	answer, err := h.cfg.History.Events(ctx, picloud.HistoryQuery{App: s.sub.App, Topics: s.events, After: p.next, Limit: limit, Bytes: pageBytes})
	if err != nil {
		p.err = err
		return p
	}
	p.add(answer.Events)
	p.next, p.last = answer.Next, !answer.More
	if p.events > 0 {
		s.limit = min(max(pageBytes*p.events/len(p.frames), 1), pageLimit)
	}
	return p
}

// overtaken reports whether retention has taken what a stream that catches up has
// not read yet. Then the stream is reset, as one that comes back too late is, and
// goes on live.
func (h *Hub) overtaken(s *subscriber, p *page) bool {
	floors, err := h.cfg.History.Floors(s.sub.App, s.events)
	if err != nil {
		return false // reading meets it again
	}
	taken := false
	for i, floor := range floors {
		taken = taken || floor > p.next && (s.floors == nil || floor > s.floors[i])
	}
	if !taken {
		return false
	}
	p.next = s.app.last.Load()
	p.reset, p.last, p.resume = "gone", true, s.position(p.next)
	p.frames = appendID(p.frames, p.resume)
	p.front = len(p.frames)
	return true
}

// begin finds out where the stream starts, and reads what comes before that: the
// newest event of the topics that ask for it. It is done when there is nothing
// more to read.
func (h *Hub) begin(ctx context.Context, s *subscriber, p *page) (done bool) {
	start, latest := &s.sub.Start, s.sub.Latest
	if s.floors, p.err = h.cfg.History.Floors(s.sub.App, s.events); p.err != nil { // first: what goes from here on is missed
		return false
	}
	switch start.Mode {
	case picloud.StartAfter:
		p.err = h.resume(s, p)
		done = p.reset != ""
	case picloud.StartAt:
		p.start, p.err = h.cfg.History.Before(ctx, s.sub.App, s.events, start.Time)
	case picloud.StartAll:
		p.start, p.err = h.cfg.History.Before(ctx, s.sub.App, s.events, time.Time{})
	case picloud.StartLatest:
		latest, done = s.events, true
	case picloud.StartLive:
		done = true
	}
	if p.err != nil {
		return done
	}
	p.next, p.last, p.resume = p.start, done, s.position(p.start)
	if len(latest) > 0 { // a state has no history, and none is found
		var events []picloud.Event
		events, p.err = h.cfg.History.Latest(ctx, s.sub.App, latest)
		for i := range events {
			if events[i].Seq <= p.start { // later ones come in their turn, with those between
				p.lead(&events[i])
			}
		}
	}
	p.frames = appendID(p.frames, p.resume) // behind older ids: a browser resumes after the last one
	return done
}

// lead adds an event that is older than the start. A browser that resumes must not
// forget its cursor for it. One that begins has none, and keeps any rather than
// none: asking anew could skip what comes meanwhile.
func (p *page) lead(e *picloud.Event) {
	if p.resumed {
		p.frames = appendEnvelope(p.frames, e, true)
	} else {
		p.frames = appendFrame(p.frames, e)
	}
	p.events++
}

// resume starts after the caller's cursor, when the history still has all that
// follows it. What retention has taken of a topic in Latest is not missed: its
// newest event stands for it.
func (h *Hub) resume(s *subscriber, p *page) error {
	old := make([]string, 0, len(s.events))
	for _, topic := range s.events {
		if !slices.Contains(s.sub.Latest, topic) {
			old = append(old, topic)
		}
	}
	pos := s.sub.Start.Position
	err := h.cfg.History.CheckPosition(s.sub.App, old, pos)
	switch {
	case err == nil:
		p.start, p.resumed = pos.Seq, true
	case errors.Is(err, picloud.ErrPositionGone):
		p.reset, err = "gone", nil
	case errors.Is(err, picloud.ErrPositionForeign):
		p.reset, err = "foreign", nil
	}
	return err
}

func (p *page) add(events []picloud.Event) {
	size := 0
	for i := range events {
		size += frameSize(&events[i])
	}
	p.frames = slices.Grow(p.frames, size)
	for i := range events {
		p.frames = appendFrame(p.frames, &events[i])
		p.ends = append(p.ends, frameEnd{len(p.frames), events[i].Seq})
	}
	p.events += len(events)
}

// takePage writes what a replayer has read.
func (s *shard) takePage(sub *subscriber, p *page) {
	if sub.state == stateClosed {
		return
	}
	if p.err != nil {
		s.failPage(sub, p.err)
		return
	}
	if sub.skip > 0 && (p.reset != "" || len(p.ends) == 0 || p.ends[0].seq != sub.partial) {
		s.drop(sub) // the event is gone, and nothing can follow a part of its frame
		return
	}
	s.scratch = s.scratch[:0]
	if !sub.opened {
		sub.cursor = p.start
		s.scratch = sub.appendHello(s.scratch, &p.resume, p.resumed)
		s.scratch = s.appendReset(s.scratch, p)
		s.scratch = s.appendStates(s.scratch, sub)
	} else {
		s.scratch = s.appendReset(s.scratch, p)
	}
	begin := len(s.scratch) - sub.skip // of the frames
	s.scratch = append(s.scratch, p.frames[sub.skip:]...)
	sub.cursor, sub.last, sub.skip = p.next, p.last, 0
	sent, err := s.send(sub, s.scratch)
	switch {
	case err != nil:
		s.drop(sub)
	case sent == len(s.scratch):
		s.hub.metrics.replayed.Add(p.events)
		s.pageWritten(sub)
	default:
		s.cutPage(sub, p, begin, sent)
	}
	if cap(s.scratch) > 2*pageBytes {
		s.scratch = nil
	}
}

// appendReset tells a stream that its cursor was not taken, if that is so.
func (s *shard) appendReset(b []byte, p *page) []byte {
	if p.reset == "" {
		return b
	}
	s.hub.metrics.resets.Inc()
	return appendControl(b, "reset", reset{Reason: p.reset, Position: p.resume})
}

// cutPage notes that the socket took a page in part, whose frames begin at begin. What
// cannot be read again is kept, and the rest of the frame that was begun, if there is room
// for it. All else is read again when the socket takes bytes, so that a reader that does
// not read costs a frame at most.
func (s *shard) cutPage(sub *subscriber, p *page, begin, sent int) {
	kept, end, cursor := 0, begin+p.front, p.start // up to where it is kept, and the cursor there
	for kept < len(p.ends) && begin+p.ends[kept].offset <= sent {
		end, cursor = begin+p.ends[kept].offset, p.ends[kept].seq
		kept++
	}
	if kept < len(p.ends) && end < sent {
		e := p.ends[kept]
		if s.roomFor(sub, begin+e.offset-sent) {
			end, cursor = begin+e.offset, e.seq
			kept++
		} else {
			sub.partial, sub.skip = e.seq, sent-end
			end = sent
		}
	}
	if kept < len(p.ends) {
		sub.cursor, sub.last = cursor, false
	}
	s.hub.metrics.replayed.Add(p.events - len(p.ends) + kept)
	if s.keep(sub, s.scratch[sent:end]) {
		s.stall(sub)
	}
}

// failPage ends a stream that cannot be caught up. The browser comes back.
func (s *shard) failPage(sub *subscriber, err error) {
	if errors.Is(err, picloud.ErrAppNotFound) {
		s.end(sub, appendControl(nil, "expired", ending{Reason: reasonTopic}))
		return
	}
	if !errors.Is(err, context.Canceled) {
		s.hub.log.Error("history could not be read for a subscriber", slog.String("app", sub.sub.App), slog.Any("err", err))
	}
	s.end(sub, appendControl(nil, "bye", ending{Reason: reasonError}))
}

// pageWritten goes on after a page has left: with the next one, or live when
// the rings hold everything after it.
func (s *shard) pageWritten(sub *subscriber) {
	if sub.finish && sub.skip == 0 && sub.cursor >= sub.partial {
		sub.state, sub.finish = stateLive, false
		s.catchBreath(sub)
		return
	}
	if sub.skip > 0 || !sub.last || !s.goLive(sub) {
		s.hub.replay.add(sub)
		return
	}
	s.offerTo(sub)
}

// goLive puts the cursors behind what was replayed. It is false when a ring has
// already lost something that was not.
func (s *shard) goLive(sub *subscriber) bool {
	for i := range sub.cursors {
		next, ok := sub.cursors[i].ring.seek(sub.cursor)
		if !ok {
			return false
		}
		sub.cursors[i].next = next
	}
	sub.state, sub.floors = stateLive, nil
	return true
}
