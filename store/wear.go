package store

import (
	"sync"
	"time"
)

// wear counts what is written to the card in the last day, by the hour: flash
// ages by what is written, and an operator has to see it coming.
type wear struct {
	mu    sync.Mutex
	total int64
	hours [25]int64 // a ring; the present hour is the newest
	hour  int64     // number of the newest since 1970
}

// add takes n bytes in. A clock that goes back adds to the newest hour.
func (w *wear) add(now time.Time, n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn(now)
	w.total += n
	w.hours[w.slot(w.hour)] += n
}

// day returns the bytes of the present hour and the 24 before.
func (w *wear) day(now time.Time) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn(now)
	var n int64
	for _, h := range w.hours {
		n += h
	}
	return n
}

func (w *wear) all() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

func (w *wear) turn(now time.Time) {
	hour := now.Unix() / 3600
	if hour-w.hour >= int64(len(w.hours)) {
		clear(w.hours[:])
		w.hour = hour
	}
	for w.hour < hour {
		w.hour++
		w.hours[w.slot(w.hour)] = 0
	}
}

func (w *wear) slot(hour int64) int { return int(hour % int64(len(w.hours))) }
