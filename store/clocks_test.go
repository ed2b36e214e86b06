package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// clockRig is a node on a board whose clock a test sets.
type clockRig struct {
	*running
	t   *testing.T
	b   *board
	cfg store.Config
}

func newClockRig(t *testing.T, retention picloud.Retention) *clockRig {
	b := newBoard()
	b.sync()
	r := &clockRig{t: t, b: b, cfg: store.Config{Dir: t.TempDir(), Now: b.Now, Clock: b.Clock, Retention: retention}}
	r.running = start(t, r.cfg)
	return r
}

// set makes the clock show a time, believed or not.
func (r *clockRig) set(shows time.Time) {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	r.b.wrong = shows.Sub(r.b.now)
}

// cut pulls the plug. After off the board starts with a clock that shows a time and
// cannot be believed.
func (r *clockRig) cut(off time.Duration, shows time.Time) {
	r.t.Helper()
	r.cfg.Dir = copyDir(r.t, r.cfg.Dir)
	r.stop(r.t)
	r.b.wait(off)
	r.set(shows)
	r.b.mu.Lock()
	r.b.boot, r.b.started, r.b.synced = r.b.boot+"'", r.b.now, false
	r.b.mu.Unlock()
	r.running = start(r.t, r.cfg)
}

// once publishes under an idempotency key and returns the position.
func (r *clockRig) once(key string) picloud.Position {
	r.t.Helper()
	events, err := r.Publish(r.t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), IdempotencyKey: key, Drafts: []picloud.Draft{{Topic: "once", Data: []byte("1")}}})
	if err != nil {
		r.t.Fatal(err)
	}
	return events[0].Position
}

func (r *clockRig) lock(key string, ttl time.Duration) {
	r.t.Helper()
	if _, err := r.SetEntry(r.t.Context(), picloud.EntryChange{App: "default", Key: key, Value: []byte("1"), TTL: ttl}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *clockRig) held(key string) bool {
	_, err := r.Entry("default", key)
	if err != nil && !errors.Is(err, picloud.ErrKVNotFound) {
		r.t.Fatal(err)
	}
	return err == nil
}

var (
	epochStart = time.Date(1970, 1, 1, 0, 0, 5, 0, time.UTC)
	farAhead   = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
)

// DM-8: an idempotency key answers its first result for 24 hours whatever the clock
// does meanwhile, and not for ever.
func TestIdempotencyHoldsWhateverTheClockDoes(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(r *clockRig, again func(string)){
		"set back by 40 s over midnight": func(r *clockRig, _ func(string)) {
			r.set(time.Date(2026, 2, 28, 23, 59, 40, 0, time.UTC))
		},
		"set back by 40 s over midnight, and a restart": func(r *clockRig, _ func(string)) {
			r.set(time.Date(2026, 2, 28, 23, 59, 40, 0, time.UTC))
			r.stop(r.t)
			r.running = start(r.t, r.cfg)
		},
		"set forward and back": func(r *clockRig, _ func(string)) {
			was := r.b.Now()
			r.set(farAhead)
			r.once("another")
			r.set(was)
		},
		"1970 after a power cut": func(r *clockRig, _ func(string)) { r.cut(time.Minute, epochStart) },
		"1970 after a power cut, until it knows the time": func(r *clockRig, again func(string)) {
			r.cut(time.Minute, epochStart)
			again("in 1970")
			r.once("another")
			r.b.wait(time.Minute)
			r.b.sync()
		},
		"years ahead after a power cut": func(r *clockRig, _ func(string)) { r.cut(time.Minute, farAhead) },
		"a power cut every hour": func(r *clockRig, again func(string)) {
			for i := range 10 {
				r.cut(time.Minute, epochStart)
				again(fmt.Sprint("start ", i))
				r.once(fmt.Sprint("in 1970 ", i))
				r.b.wait(time.Minute)
				r.b.sync()
				r.once(fmt.Sprint("after ", i))
				r.b.wait(time.Hour)
			}
		},
		"state.db is lost in 1970": func(r *clockRig, _ func(string)) {
			r.cut(time.Minute, epochStart)
			r.stop(r.t)
			if err := removeState(r.cfg.Dir); err != nil {
				r.t.Fatal(err)
			}
			r.running = start(r.t, r.cfg)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newClockRig(t, picloud.Retention{})
			r.set(time.Date(2026, 3, 1, 0, 0, 20, 0, time.UTC))
			first := r.once("k")
			again := func(when string) {
				t.Helper()
				if got := r.once("k"); got != first {
					t.Errorf("%s the key stands for %v, at first for %v", when, got, first)
				}
			}
			meanwhile(r, again)
			again("then")
			r.b.sync()
			for range 3 { // whatever happened, it ends
				r.b.wait(25 * time.Hour)
				r.once(r.b.Now().String())
			}
			if r.once("k") == first {
				t.Error("days later it still stands for it")
			}
		})
	}
}

// DM-8: a key that was used before the board knew the time stands for its event when the
// board does, however long it had been off.
func TestIdempotencyOverTheMomentTheTimeIsKnown(t *testing.T) {
	t.Parallel()
	for name, shows := range map[string]time.Time{"1970": epochStart, "the time of the last stop": newBoard().now, "years ahead": farAhead} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newClockRig(t, picloud.Retention{})
			r.once("before")
			r.cut(10*24*time.Hour, shows)
			first := r.once("k")
			r.b.wait(time.Minute)
			r.b.sync()
			if again := r.once("k"); again != first {
				t.Errorf("%v and %v", first, again)
			}
		})
	}
}

// DM-8: retention by age believes no clock that cannot be believed. What has gone stays
// gone, and what came before the time was known is as old as it truly is.
func TestAgeIsThatOfAClockThatIsBelieved(t *testing.T) {
	t.Parallel()
	r := newClockRig(t, picloud.Retention{MaxAge: 7 * 24 * time.Hour})
	is := func(when string, want ...string) {
		t.Helper()
		got := history(t, r.running, "default", "a")
		for i := range got {
			_, got[i], _ = strings.Cut(got[i], " a ") // positions jump when the node was cut off
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	publish(t, r.running, "default", "a", "1")
	r.b.wait(6 * 24 * time.Hour)
	publish(t, r.running, "default", "a", "2")
	r.b.wait(2 * 24 * time.Hour)
	publish(t, r.running, "default", "b", "0")
	is("when the first is eight days old", "2")
	r.cut(time.Minute, epochStart)
	is("in 1970", "2")
	third := publish(t, r.running, "default", "a", "3")[0]
	r.set(farAhead)
	is("in 2040, which is not believed", "2", "3")
	r.set(epochStart.Add(time.Minute))
	r.b.wait(time.Hour)
	r.b.sync()
	is("when the time is known", "2", "3")
	publish(t, r.running, "default", "a", "4")
	if seq, err := r.Before(t.Context(), "default", []string{"a"}, r.b.Now().Add(-2*time.Hour)); err != nil || seq != third.Seq-1 {
		t.Errorf("the last two hours begin behind %d, %v", seq, err)
	}
	r.b.wait(6 * 24 * time.Hour)
	is("six days later", "3", "4")
	r.cut(20*24*time.Hour, r.b.Now())
	publish(t, r.running, "default", "a", "5") // its clock is 20 days late
	r.b.wait(time.Minute)
	r.b.sync()
	r.b.wait(time.Minute)
	publish(t, r.running, "default", "b", "0")
	is("of a clock that was late", "5")
	r.b.wait(8 * 24 * time.Hour)
	is("eight days later")
}

// DM-8: what has ended does not begin again in 1970, and what is set there lasts as long
// as it was given.
func TestEndsAreThoseOfAClockThatIsBelieved(t *testing.T) {
	t.Parallel()
	r := newClockRig(t, picloud.Retention{})
	r.lock("over", time.Minute)
	r.lock("long", 48*time.Hour)
	r.b.wait(time.Hour)
	publish(t, r.running, "default", "a", "1")
	r.cut(time.Minute, epochStart)
	r.lock("early", time.Minute)
	for _, shows := range []time.Time{epochStart, farAhead} {
		r.set(shows)
		if r.held("over") || !r.held("long") || !r.held("early") {
			t.Errorf("at %v: over %v, long %v, early %v", shows, r.held("over"), r.held("long"), r.held("early"))
		}
	}
	r.b.wait(2 * time.Minute)
	if r.held("early") || !r.held("long") {
		t.Errorf("two minutes later: early %v, long %v", r.held("early"), r.held("long"))
	}
	r.b.sync()
	r.b.wait(48 * time.Hour)
	publish(t, r.running, "default", "a", "2")
	if r.held("long") {
		t.Error("after its time it is still there")
	}
}

// DM-8: the records of runs reach the card also when the clock is behind the newest of
// them.
func TestRunsAreWrittenInAnyYear(t *testing.T) {
	t.Parallel()
	r := newClockRig(t, picloud.Retention{})
	if _, err := r.SaveScript(t.Context(), picloud.Script{App: "default", Name: "s", Source: "//"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	run := picloud.Run{App: "default", Script: "s", Outcome: "ok"}
	r.RecordRun(run)
	r.set(epochStart)
	r.RecordRun(run)
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond) // nothing tells when they are written
	defer tick.Stop()
	for {
		copied := start(t, store.Config{Dir: copyDir(t, r.cfg.Dir), Now: r.b.Now, Clock: r.b.Clock})
		runs, err := copied.Runs("default", "s", "", 10)
		copied.stop(t)
		if err == nil && len(runs) == 2 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("on the card are %+v, %v", runs, err)
		}
	}
}
