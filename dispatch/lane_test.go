package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
)

// journal is a log in memory, with the promises of the real one.
type journal struct {
	mu     sync.Mutex
	first  uint64
	recs   []picloud.Record
	wake   chan struct{}
	cursor uint64
}

func newJournal() *journal { return &journal{first: 1, wake: make(chan struct{})} }

// add appends n records that are committed together.
func (j *journal) add(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range n {
		lsn := j.first + uint64(len(j.recs))
		j.recs = append(j.recs, picloud.Record{LSN: lsn, At: time.Now(), More: i < n-1, Size: 100, Event: &picloud.Event{}})
	}
	close(j.wake)
	j.wake = make(chan struct{})
}

// forget drops everything below an LSN.
func (j *journal) forget(below uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.recs, j.first = j.recs[below-j.first:], below
}

func (j *journal) RecordsAfter(lsn uint64) uint64 { return max(j.LastLSN(), lsn) - lsn }

func (j *journal) LastLSN() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.first + uint64(len(j.recs)) - 1
}

func (j *journal) MoveCursor(_ string, lsn uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cursor = lsn
}

func (j *journal) Wait(ctx context.Context, after uint64) error {
	for {
		j.mu.Lock()
		wake, last := j.wake, j.first+uint64(len(j.recs))-1
		j.mu.Unlock()
		if last > after {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (j *journal) OpenLog(after uint64) (picloud.RecordReader, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if after+1 < j.first {
		return nil, &picloud.RecordsGoneError{First: j.first}
	}
	return &reader{j: j, passed: after}, nil
}

type reader struct {
	j      *journal
	passed uint64
}

func (r *reader) Next() (picloud.Record, error) {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	i := r.passed + 1 - r.j.first
	if i >= uint64(len(r.j.recs)) {
		return picloud.Record{}, io.EOF
	}
	r.passed++
	return r.j.recs[i], nil
}

func (r *reader) Passed() uint64 { return r.passed }
func (r *reader) Close() error   { return nil }

// consumer notes what it gets, and fails as told.
type consumer struct {
	done   uint64
	sizes  []int
	aside  []uint64
	skips  []uint64
	ticks  int
	begins int
	ends   int

	begin func() error
	take  func(batch []picloud.Record) error
}

func (c *consumer) Begin(context.Context) (picloud.Standing, error) {
	c.begins++
	var err error
	if c.begin != nil {
		err = c.begin()
	}
	return picloud.Standing{Done: c.done, SetAside: uint64(len(c.aside))}, err
}

func (c *consumer) Take(_ context.Context, batch []picloud.Record, upTo uint64) error {
	if batch[0].LSN != c.done+1 {
		panic(fmt.Sprintf("record %d after %d", batch[0].LSN, c.done))
	}
	if c.take != nil {
		if err := c.take(batch); err != nil {
			return err
		}
	}
	c.sizes = append(c.sizes, len(batch))
	c.done = upTo
	return nil
}

func (c *consumer) SetAside(_ context.Context, r picloud.Record, _ error) error {
	c.aside = append(c.aside, r.LSN)
	c.done = r.LSN
	return nil
}

func (c *consumer) Skip(_ context.Context, to uint64) (uint64, error) {
	lost := to - c.done
	c.skips = append(c.skips, to)
	c.done = to
	return lost, nil
}

func (c *consumer) Tick(context.Context, uint64) error {
	c.ticks++
	return nil
}

func (c *consumer) End() { c.ends++ }

type permanent struct{}

func (permanent) Error() string   { return "never" }
func (permanent) Permanent() bool { return true }

// run runs a lane in a bubble of its own time until test returns.
func run(t *testing.T, j *journal, c *consumer, cfg dispatch.Config, test func(l *dispatch.Lane)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		j.wake = make(chan struct{}) // belongs to the bubble
		cfg.Name, cfg.Journal, cfg.Consumer = "test", j, c
		l := dispatch.New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		synctest.Wait()
		test(l)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if c.ends != 1 {
			t.Errorf("ended %d times", c.ends)
		}
	})
}

func TestRecordsAreTakenInOrderAsTheyCome(t *testing.T) {
	t.Parallel()
	j, c := newJournal(), &consumer{}
	for range 1200 {
		j.add(1)
	}
	run(t, j, c, dispatch.Config{}, func(l *dispatch.Lane) {
		if !slices.Equal(c.sizes, []int{500, 500, 200}) {
			t.Errorf("batches of %v", c.sizes)
		}
		before := time.Now()
		j.add(1)
		synctest.Wait()
		if c.done != 1201 || !time.Now().Equal(before) {
			t.Errorf("done up to %d after %v", c.done, time.Since(before))
		}
		st := l.Status()
		if st.State != dispatch.StateIdle || st.Waiting != 0 || st.Done != 1201 || j.cursor != 1201 {
			t.Errorf("%+v, cursor %d", st, j.cursor)
		}
	})
}

// What was committed together is handed over together.
func TestUnitsAreNotSplit(t *testing.T) {
	t.Parallel()
	j, c := newJournal(), &consumer{}
	j.add(400)
	j.add(400)
	j.add(3)
	run(t, j, c, dispatch.Config{}, func(*dispatch.Lane) {
		if !slices.Equal(c.sizes, []int{800, 3}) {
			t.Errorf("batches of %v", c.sizes)
		}
	})
}

// A remote that is away costs no record and no attempt; the pauses grow, and
// end as soon as it is back.
func TestUnavailableWaitsAndLosesNothing(t *testing.T) {
	t.Parallel()
	j, c := newJournal(), &consumer{}
	var tries []time.Time
	away := true
	c.begin = func() error {
		tries = append(tries, time.Now())
		if away {
			return errors.New("away")
		}
		return nil
	}
	j.add(10)
	run(t, j, c, dispatch.Config{}, func(l *dispatch.Lane) {
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := l.Status(); st.State != dispatch.StateWaiting || st.Error != "away" || st.Waiting != 10 || st.NextTry.IsZero() {
			t.Errorf("%+v", st)
		}
		if n := len(tries); n < 60 || n > 130 {
			t.Errorf("%d tries in an hour", n)
		}
		for i := 1; i < len(tries); i++ {
			if gap := tries[i].Sub(tries[i-1]); gap > time.Minute || gap < 500*time.Millisecond {
				t.Errorf("try %d came after %v", i, gap)
			}
		}
		away = false
		l.Poke()
		synctest.Wait()
		if st := l.Status(); st.State != dispatch.StateIdle || st.Error != "" || c.done != 10 {
			t.Errorf("%+v, done %d", st, c.done)
		}
	})
}

// An error in the middle begins anew where the consumer stands.
func TestFailureInTheMiddleGoesOn(t *testing.T) {
	t.Parallel()
	j, c := newJournal(), &consumer{}
	n := 0
	c.take = func([]picloud.Record) error {
		if n++; n%3 == 0 {
			return errors.New("connection lost")
		}
		return nil
	}
	for range 5000 {
		j.add(1)
	}
	run(t, j, c, dispatch.Config{MaxRecords: 100}, func(*dispatch.Lane) {
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if c.done != 5000 || c.begins < 10 {
			t.Errorf("done %d after %d begins", c.done, c.begins)
		}
	})
}

// PG-2, TR-8: a poisonous record is found, tried again a few times, and set
// aside alone.
func TestPoisonIsIsolated(t *testing.T) {
	t.Parallel()
	j, c := newJournal(), &consumer{}
	alone := map[uint64]int{}
	poison := []uint64{1, 77, 78, 400, 1000}
	c.take = func(batch []picloud.Record) error {
		for _, r := range batch {
			if slices.Contains(poison, r.LSN) {
				if len(batch) == 1 {
					alone[r.LSN]++
				}
				return fmt.Errorf("copy: %w", permanent{})
			}
		}
		return nil
	}
	for range 1000 {
		j.add(1)
	}
	run(t, j, c, dispatch.Config{}, func(l *dispatch.Lane) {
		time.Sleep(time.Minute)
		synctest.Wait()
		if !slices.Equal(c.aside, poison) || c.done != 1000 || c.begins != 1 {
			t.Errorf("set aside %v, done %d, %d begins", c.aside, c.done, c.begins)
		}
		for lsn, n := range alone {
			if n != 3 {
				t.Errorf("record %d was tried %d times alone", lsn, n)
			}
		}
		if st := l.Status(); st.SetAside != 5 {
			t.Errorf("%+v", st)
		}
	})
}

// What the journal had to drop is counted, and what is left goes on.
func TestDroppedRecordsAreSkippedAndCounted(t *testing.T) {
	t.Parallel()
	j, c := newJournal(), &consumer{}
	for range 100 {
		j.add(1)
	}
	j.forget(61)
	run(t, j, c, dispatch.Config{}, func(l *dispatch.Lane) {
		if !slices.Equal(c.skips, []uint64{60}) || c.done != 100 || l.Status().Lost != 60 {
			t.Errorf("skipped to %v, done %d, %+v", c.skips, c.done, l.Status())
		}
	})
}

// The consumer is asked now and then whether it still lives, busy or not, and
// at once when somebody pokes.
func TestTicks(t *testing.T) {
	t.Parallel()
	j, c := newJournal(), &consumer{}
	run(t, j, c, dispatch.Config{}, func(l *dispatch.Lane) {
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if c.ticks != 4 {
			t.Errorf("%d ticks in a minute", c.ticks)
		}
		l.Poke()
		synctest.Wait()
		if c.ticks != 5 {
			t.Errorf("%d ticks after a poke", c.ticks)
		}
		for range 60 {
			j.add(1)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if c.ticks < 8 || c.ticks > 10 {
			t.Errorf("%d ticks after another minute", c.ticks)
		}
	})
}

// HW-6: while the board is to be spared, a lane that catches up works for a quarter of the
// time; what comes one by one is handed over at once.
func TestCatchingUpSparesTheBoard(t *testing.T) {
	var busy atomic.Bool
	busy.Store(true)
	j := newJournal()
	for range 100 {
		j.add(1)
	}
	var done atomic.Uint64
	c := &consumer{take: func(batch []picloud.Record) error {
		time.Sleep(100 * time.Millisecond)
		done.Store(batch[len(batch)-1].LSN)
		return nil
	}}
	run(t, j, c, dispatch.Config{MaxRecords: 10, Busy: busy.Load}, func(*dispatch.Lane) {
		caughtUp := func() time.Duration {
			began := time.Now()
			for done.Load() < j.LastLSN() {
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
			}
			return time.Since(began)
		}
		if took := caughtUp(); took < 3500*time.Millisecond || took > 3800*time.Millisecond {
			t.Errorf("caught up in %v, want a second of work and 2.7 of rest", took)
		}
		j.add(1)
		if took := caughtUp(); took > 150*time.Millisecond {
			t.Errorf("one record took %v", took)
		}
		busy.Store(false)
		for range 100 {
			j.add(1)
		}
		if took := caughtUp(); took > 1130*time.Millisecond { // eleven groups, since the first may have one record, a step aside, and a look
			t.Errorf("caught up in %v on a board that need not be spared", took)
		}
	})
}
