package hw

import "time"

// occurrence is what an event of an input tells.
type occurrence struct {
	at      time.Time // of the edge, or the end of a counter's interval
	known   time.Time // when there was nothing more to wait for on purpose
	on      bool
	initial bool // the level as it was found, with no edge
	count   int  // edges, gestures or pulses that it stands for
	missed  int  // edges that were lost before it

	gesture string        // of a button
	total   uint64        // of a counter
	elapsed time.Duration // of a counter: in which time there were count pulses
}

// after returns the occurrence that stands for an older one, too.
func (o occurrence) after(older occurrence) occurrence {
	o.count += older.count
	o.missed += older.missed
	o.elapsed += older.elapsed
	return o
}

// limiter lets one occurrence pass in each interval. Of those between, the newest is
// held and passes when the interval is over, for all of them: the last state always
// passes.
type limiter struct {
	interval time.Duration // 0: all pass

	passed  time.Time // when the last one passed; zero: none has
	held    occurrence
	holding bool
}

// offer returns the occurrence if it passes at a time.
func (l *limiter) offer(o occurrence, now time.Time) (occurrence, bool) {
	switch {
	case l.interval == 0:
		return o, true
	case l.holding:
		l.held = o.after(l.held)
	case !l.passed.IsZero() && now.Sub(l.passed) < l.interval:
		l.held, l.holding = o, true
	default:
		l.passed = now
		return o, true
	}
	return occurrence{}, false
}

// advance returns the occurrence that passes because of the time, if there is one.
func (l *limiter) advance(now time.Time) (occurrence, bool) {
	due := l.next()
	if due.IsZero() || now.Before(due) {
		return occurrence{}, false
	}
	l.holding, l.passed, l.held.known = false, due, due
	return l.held, true
}

// next returns when an occurrence passes that is held; zero: none is.
func (l *limiter) next() time.Time {
	if !l.holding {
		return time.Time{}
	}
	return l.passed.Add(l.interval)
}
