// Package backoff computes the pauses between attempts at something that fails: each
// is twice as long as the one before, up to a limit, and jittered between a half and
// the whole of that, so that two hundred nodes do not come back at the same moment.
//
// It waits for nothing and does not know which errors are worth another attempt:
// callers wait with the means they have, such as a timer beside their other events.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Backoff counts the failures in a row of one thing. It is for one goroutine.
type Backoff struct {
	Min time.Duration // the first pause, before jitter
	Max time.Duration // the longest pause

	failures int
}

// Next counts a failure and returns the pause that follows it.
func (b *Backoff) Next() time.Duration {
	b.failures++
	return After(b.Min, b.Max, b.failures)
}

// Failures returns how often Next was called since the last Reset.
func (b *Backoff) Failures() int { return b.failures }

// Reset forgets the failures: call it after a success.
func (b *Backoff) Reset() { b.failures = 0 }

// After returns the pause after a number of failures in a row, for callers that keep
// the number elsewhere.
func After(first, longest time.Duration, failures int) time.Duration {
	d := min(first, longest)
	for i := 1; i < failures && 0 < d && d < longest; i++ {
		if d > longest/2 { // doubling could overflow
			d = longest
		} else {
			d *= 2
		}
	}
	return d/2 + rand.N(d/2+1) // #nosec G404 -- spreads load, keeps no secret
}
