package dispatch

import (
	"errors"
	"math/rand/v2"
	"time"
)

// backoff is how long to wait after an error: twice as long each time, up to a
// limit, and jittered by a half, so that two hundred nodes do not come back at
// the same moment.
type backoff struct {
	min, max time.Duration
	last     time.Duration
}

func (b *backoff) next() time.Duration {
	b.last = min(max(b.last*2, b.min), b.max)
	return b.last/2 + rand.N(b.last/2+1) // #nosec G404 -- spreads load, keeps no secret
}

func (b *backoff) reset() { b.last = 0 }

// permanent reports whether an error says of itself that trying again will not
// help.
func permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}
