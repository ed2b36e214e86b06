package store

import (
	"testing"
	"time"
)

// OP-5: what was written in the last day, over quiet hours, long pauses and a
// clock that goes back.
func TestWearOfADay(t *testing.T) {
	t.Parallel()
	var w wear
	now := time.Date(1970, 1, 1, 0, 10, 0, 0, time.UTC) // a board without a clock
	step := func(d time.Duration, write, want int64) {
		t.Helper()
		now = now.Add(d)
		w.add(now, write)
		if got := w.day(now); got != want {
			t.Errorf("%v: %d bytes in the last day, want %d", now, got, want)
		}
	}
	step(0, 1, 1)
	step(time.Hour, 2, 3)
	step(-30*time.Minute, 4, 7)
	step(23*time.Hour, 8, 15)
	step(time.Hour+30*time.Minute, 16, 30) // the first hour is out
	step(55*365*24*time.Hour, 32, 32)      // the clock was set
	if w.all() != 63 {
		t.Errorf("%d in all", w.all())
	}
}
