package hw

import "time"

// counter counts pulses. It tells their total once in each interval in which there were
// some, and once more that there are none any more.
type counter struct {
	every time.Duration

	total  uint64
	count  int       // of this interval
	missed int       // edges of this interval that were lost
	began  time.Time // this interval
	moving bool      // the last interval that was told had pulses
}

// reading is what a counter tells of an interval.
type reading struct {
	at      time.Time // its end
	total   uint64
	count   int
	missed  int
	elapsed time.Duration
}

// pulses counts n pulses at a time.
func (c *counter) pulses(at time.Time, n, missed int) {
	if c.next().IsZero() { // intervals passed of which there is nothing to tell
		c.began = at.Add(-(at.Sub(c.began) % c.every))
	}
	c.total += uint64(max(0, n)) // #nosec G115 -- not negative
	c.count += n
	c.missed += missed
}

// advance returns the reading of the interval that ended, if there is something to tell.
func (c *counter) advance(now time.Time) (reading, bool) {
	due := c.next()
	if due.IsZero() || now.Before(due) {
		return reading{}, false
	}
	r := reading{at: due, total: c.total, count: c.count, missed: c.missed, elapsed: c.every}
	c.moving = c.count > 0
	c.count, c.missed, c.began = 0, 0, due
	return r, true
}

// next returns when advance has something to tell; zero: only after another pulse.
func (c *counter) next() time.Time {
	if c.count == 0 && c.missed == 0 && !c.moving {
		return time.Time{}
	}
	return c.began.Add(c.every)
}
