package store

import (
	"testing"
	"testing/synctest"
	"time"
)

// gathered lets a group wait for company on a disk that takes commit for an fsync.
// Of the commands that are expected beside the first, those that come do so at the
// given distance. It returns how many came and how long the group waited.
func gathered(l *linger, expected, come int, apart time.Duration) (n int, waited time.Duration) {
	in := newIntake(1000, 1<<20)
	l.expect(expected, 0)
	l.begin()
	l.taken = 1
	began := time.Now()
	stop := make(chan struct{})
	go func() {
		for range come {
			select {
			case <-time.After(apart):
				_ = in.put(new(command)) // has room
			case <-stop:
				return
			}
		}
	}()
	for in.take() != nil || l.next(in) != nil {
		l.taken++
	}
	l.end()
	close(stop)
	return l.taken - 1, time.Since(began)
}

// A group waits until all are back that were answered before, and not a moment
// longer.
func TestLingerWaitsForThoseWhoComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &linger{commit: 10 * time.Millisecond}
		for range 100 {
			if n, waited := gathered(l, 16, 15, 100*time.Microsecond); n != 15 || waited != 1500*time.Microsecond {
				t.Fatalf("%d of 15 came, after %v", n, waited)
			}
		}
		if n, waited := gathered(l, 16, 9, 100*time.Microsecond); n != 9 || waited != 1400*time.Microsecond || l.vain != 0 {
			t.Errorf("%d of 9 came, after %v; in vain: %d", n, waited, l.vain)
		}
	})
}

// A lone publisher, and any on a quick disk, waits for no company; a stream that does
// not end is waited for at most a quarter of a commit.
func TestLingerIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if _, waited := gathered(&linger{commit: 10 * time.Millisecond}, 1, 5, time.Microsecond); waited != 0 {
			t.Errorf("a lone publisher waited %v", waited)
		}
		if _, waited := gathered(&linger{commit: 100 * time.Microsecond}, 16, 15, time.Microsecond); waited != 0 {
			t.Errorf("on a quick disk a group waited %v", waited)
		}
		if _, waited := gathered(&linger{commit: 10 * time.Millisecond}, 1000, 999, 400*time.Microsecond); waited != 2500*time.Microsecond {
			t.Errorf("a group waited %v, and a commit takes 10ms", waited)
		}
	})
}

// Publishers that never come back cost little: waiting for them becomes rare. Once
// they do come back, it pays at the next attempt, and is done for each group.
func TestLingerInVainBecomesRare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &linger{commit: 10 * time.Millisecond}
		var total time.Duration
		for range 1000 {
			_, waited := gathered(l, 16, 0, 0)
			total += waited
		}
		if total < 10*500*time.Microsecond || total > 25*500*time.Microsecond {
			t.Errorf("1000 groups waited %v in vain", total)
		}
		groups := 0
		for l.vain > 0 && groups < 100 {
			gathered(l, 16, 15, 10*time.Microsecond)
			groups++
		}
		if n, _ := gathered(l, 16, 15, 10*time.Microsecond); n != 15 || groups > 64 {
			t.Errorf("after %d groups %d of 15 came together", groups, n)
		}
	})
}
