package hw

import "time"

// Kinds of inputs that publish events.
const (
	KindEdges   = "edges"   // an event for each edge
	KindButton  = "button"  // an event for each gesture
	KindCounter = "counter" // pulses are counted, and their number is told once in a while
)

// Edges that an input tells or counts.
const (
	EdgesRising  = "rising" // the pin goes on
	EdgesFalling = "falling"
	EdgesBoth    = "both"
)

// maxQueue is how many occurrences of an input wait to be published. Of more, the newest
// stands for those that do not fit.
const maxQueue = 64

// signal turns the edges of an input into occurrences. It is a state machine over times
// and levels: it waits for nothing, and is for one goroutine at a time.
type signal struct {
	kind  string
	edges string

	debouncer debouncer
	button    button
	counter   counter
	limiter   limiter
	missed    int       // edges that were lost since the last occurrence
	now       time.Time // up to here everything is decided
	queue     []occurrence
}

func newSignal(p *PinConfig) signal {
	return signal{
		kind: p.Kind, edges: p.Edges, debouncer: debouncer{period: p.Debounce}, button: button{hold: p.Hold, double: p.Double, told: true},
		counter: counter{every: p.Every}, limiter: limiter{interval: p.MinInterval},
	}
}

// start takes the level as it is found when the line comes into use.
func (s *signal) start(now time.Time, on bool) {
	s.advance(now)
	s.debouncer.start(on)
	s.button.start(on)
	if s.counter.began.IsZero() {
		s.counter.began = now
	}
	if s.kind == KindEdges {
		s.offer(occurrence{at: now, on: on, initial: true}, now)
	}
}

// edge takes the next edge. One that is older than what was decided already comes right
// after it: the kernel's queue may have held it that long.
func (s *signal) edge(e edge) {
	if e.at.Before(s.now) {
		e.at = s.now
	}
	s.advance(e.at)
	if s.kind == KindCounter && s.debouncer.period == 0 {
		s.counter.pulses(e.at, 1+e.missed, 0) // the line tells the counted edges alone, so that those it lost are pulses
		return
	}
	s.missed += e.missed
	if c, changed := s.debouncer.edge(e.at, e.on); changed {
		s.change(c)
	}
}

// advance decides what follows from the time alone, in the order in which it is due.
func (s *signal) advance(now time.Time) {
	for due := s.next(); !due.IsZero() && !due.After(now); due = s.next() {
		if c, changed := s.debouncer.advance(due); changed {
			s.change(c)
		}
		if g, known := s.button.advance(due); known {
			s.gesture(g, due)
		}
		if r, over := s.counter.advance(due); over {
			s.push(occurrence{at: r.at, total: r.total, count: r.count, missed: r.missed, elapsed: r.elapsed})
		}
		if o, passes := s.limiter.advance(due); passes {
			s.push(o)
		}
	}
	if now.After(s.now) {
		s.now = now
	}
}

// next returns when advance has something to decide; zero: only after another edge.
func (s *signal) next() time.Time {
	var first time.Time
	for _, due := range [...]time.Time{s.debouncer.next(), s.button.next(), s.counter.next(), s.limiter.next()} {
		if !due.IsZero() && (first.IsZero() || due.Before(first)) {
			first = due
		}
	}
	return first
}

// change takes a change of the level.
func (s *signal) change(c change) {
	counts := s.edges == EdgesBoth || c.on == (s.edges == EdgesRising)
	switch {
	case s.kind == KindButton:
		if g, known := s.button.change(c.at, c.on); known {
			s.gesture(g, c.known)
		}
	case s.kind == KindCounter:
		n := 0
		if counts {
			n = 1
		}
		s.counter.pulses(c.known, n, s.missed)
		s.missed = 0
	case counts:
		s.offer(occurrence{at: c.at, on: c.on, count: 1}, c.known)
	}
}

func (s *signal) gesture(g gesture, known time.Time) {
	s.offer(occurrence{at: g.at, gesture: g.name, count: 1}, known)
}

// offer lets an occurrence pass to the queue, now or later.
func (s *signal) offer(o occurrence, now time.Time) {
	o.known = now
	o.missed += s.missed
	s.missed = 0
	if o, passes := s.limiter.offer(o, now); passes {
		s.push(o)
	}
}

func (s *signal) push(o occurrence) {
	if n := len(s.queue); n >= maxQueue {
		s.queue[n-1] = o.after(s.queue[n-1])
		return
	}
	s.queue = append(s.queue, o)
}

// take moves the queue to the end of a list.
func (s *signal) take(list []occurrence) []occurrence {
	list = append(list, s.queue...)
	s.queue = s.queue[:0]
	return list
}

// flush lets pass what is held, because there is no later.
func (s *signal) flush(now time.Time) {
	s.advance(now)
	if s.limiter.holding {
		s.limiter.holding = false
		s.push(s.limiter.held)
	}
}
