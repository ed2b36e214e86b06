package hw

import "time"

// debouncer turns the edges of a contact that bounces into changes of its level. The
// level has changed when it has been still for the period, and it has changed at the
// first edge of those that were no further apart: so a spike that is shorter than the
// period is no change. Without a period every edge is a change.
//
// The kernel debounces, too, but tells the time at which the level was still.
type debouncer struct {
	period time.Duration

	on     bool      // the level that was still
	moving bool      // there were edges since
	raw    bool      // the level after the last edge
	began  time.Time // the first edge
	last   time.Time // the last edge
}

// change is a change of the level.
type change struct {
	at    time.Time // of the edge that began it
	known time.Time // when the level had been still for the period
	on    bool
}

// start forgets everything: the level is known to be on or off.
func (d *debouncer) start(on bool) { *d = debouncer{period: d.period, on: on} }

// edge takes the next edge. It returns the change that is known by it, if there is one.
func (d *debouncer) edge(at time.Time, on bool) (change, bool) {
	if d.period == 0 {
		d.on = on
		return change{at: at, known: at, on: on}, true
	}
	c, changed := d.advance(at)
	switch {
	case d.moving:
	case on != d.on:
		d.moving, d.began = true, at
	default:
		return c, changed // the edges between were lost, and with them when it moved
	}
	d.raw, d.last = on, at
	return c, changed
}

// advance returns the change that is known by a time, if there is one.
func (d *debouncer) advance(now time.Time) (change, bool) {
	if !d.moving || now.Sub(d.last) < d.period {
		return change{}, false
	}
	d.moving = false
	if d.raw == d.on {
		return change{}, false // a spike
	}
	d.on = d.raw
	return change{at: d.began, known: d.last.Add(d.period), on: d.on}, true
}

// next returns when advance has something to decide; zero: only after another edge.
func (d *debouncer) next() time.Time {
	if !d.moving {
		return time.Time{}
	}
	return d.last.Add(d.period)
}
