package backoff_test

import (
	"math"
	"testing"
	"time"

	"github.com/picloud/picloud/backoff"
)

// between checks that pauses after a number of failures lie between half of want and
// want, and are not all the same.
func between(t *testing.T, want time.Duration, pause func() time.Duration) {
	t.Helper()
	least, most := time.Duration(math.MaxInt64), time.Duration(0)
	for range 100 {
		d := pause()
		least, most = min(least, d), max(most, d)
	}
	if least < want/2 || most > want {
		t.Errorf("pauses from %v to %v, want from %v to %v", least, most, want/2, want)
	}
	if least == most && want > 1 {
		t.Errorf("every pause is %v: they are not jittered", least)
	}
}

func TestPausesDoubleUpToALimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, longest time.Duration
		failures       int
		want           time.Duration
	}{
		{time.Second, time.Minute, 0, time.Second},
		{time.Second, time.Minute, 1, time.Second},
		{time.Second, time.Minute, 2, 2 * time.Second},
		{time.Second, time.Minute, 6, 32 * time.Second},
		{time.Second, time.Minute, 7, time.Minute},
		{time.Second, time.Minute, math.MaxInt, time.Minute},
		{time.Hour, time.Minute, 3, time.Minute},
		{time.Second, math.MaxInt64, math.MaxInt, math.MaxInt64},
		{0, time.Minute, math.MaxInt, 0},
		{0, 0, 3, 0},
	} {
		between(t, c.want, func() time.Duration { return backoff.After(c.first, c.longest, c.failures) })
	}
}

func TestResetBeginsAgain(t *testing.T) {
	t.Parallel()
	between(t, 400*time.Millisecond, func() time.Duration {
		b := backoff.Backoff{Min: 100 * time.Millisecond, Max: time.Second}
		b.Next()
		b.Next()
		if b.Failures() != 2 {
			t.Errorf("%d failures after two", b.Failures())
		}
		return b.Next()
	})
	between(t, 100*time.Millisecond, func() time.Duration {
		b := backoff.Backoff{Min: 100 * time.Millisecond, Max: time.Second}
		b.Next()
		b.Reset()
		if b.Failures() != 0 {
			t.Errorf("%d failures after a reset", b.Failures())
		}
		return b.Next()
	})
}
