package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// answered lets the scripts of an endpoint answer all that waits, as a dispatcher would.
func (r *running) answered(t *testing.T, e picloud.Endpoint, ids []string, size int) {
	t.Helper()
	for _, id := range ids {
		release, err := r.ReserveResult(e.App, id)
		if err != nil {
			t.Fatal(err)
		}
		err = r.SetResult(t.Context(), e.App, id, picloud.Result{State: picloud.ResultDone, Output: []byte(`"` + strings.Repeat("y", size) + `"`)})
		release()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tr := range r.AllTriggers() {
		for tr.ID == e.ID {
			list, err := r.Deliveries(tr, 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 {
				break
			}
			var done []uint64
			for _, d := range list {
				done = append(done, d.LSN)
			}
			if err := r.MarkDone(t.Context(), tr, done); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// fill accepts requests until no more are taken, and returns their ids.
func (r *running) fill(t *testing.T, e picloud.Endpoint, request string, answer int) (ids []string) {
	t.Helper()
	for {
		id, err := r.Accept(t.Context(), e, []byte(request))
		if errors.Is(err, picloud.ErrResultsFull) {
			if p := picloud.AsError(err); p.Code != picloud.CodeTooMany || p.RetryAfter <= 0 {
				t.Errorf("%+v", p)
			}
			return ids
		}
		if err != nil {
			t.Fatal(err)
		}
		r.answered(t, e, []string{id}, answer)
		if ids = append(ids, id); len(ids) > 20_000 {
			t.Fatal("there is no bound")
		}
	}
}

// SR-2, SR-3: results have a quota in each app, apart for callers with a key and for
// anonymous ones. Who uses it up is refused, with the time to wait; others are not, and
// publishing goes on. The room comes back when the results end, and with the app.
func TestResultsHaveAQuota(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		full, other string
		answer      int
		least, most int
		life        time.Duration
	}{
		"anonymous, large answers":  {anonymousRequest, keyedRequest, 900_000, 7, 9, 10 * time.Minute},
		"anonymous, small answers":  {anonymousRequest, keyedRequest, 10, 300, 300, 10 * time.Minute},
		"with a key, large answers": {keyedRequest, anonymousRequest, 900_000, 7, 9, 24 * time.Hour},
		"with a key, small answers": {keyedRequest, anonymousRequest, 10, 300, 300, 24 * time.Hour},
		"large requests":            {`{"input":"` + strings.Repeat("x", 900_000) + `","about":{"caller":{}}}`, anonymousRequest, 900_000, 7, 9, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := newTestClock()
			cfg := store.Config{Dir: t.TempDir(), Now: clock.Now, Results: 300, ResultBytes: 8 << 20, AnonymousBytes: 8 << 20, SegmentSize: 8 << 20}
			s := start(t, cfg)
			shop, other := s.endpoint(t, "shop"), s.endpoint(t, "other")
			ids := s.fill(t, shop, c.full, c.answer)
			if len(ids) < c.least || len(ids) > c.most {
				t.Errorf("%d results were taken, want %d to %d", len(ids), c.least, c.most)
			}
			s.stop(t)
			s = start(t, cfg)
			if _, err := s.Accept(t.Context(), shop, []byte(c.full)); !errors.Is(err, picloud.ErrResultsFull) {
				t.Errorf("after a restart: %v", err)
			}
			if _, err := s.Accept(t.Context(), shop, []byte(c.other)); err != nil {
				t.Errorf("the other sort of caller: %v", err)
			}
			if _, err := s.Accept(t.Context(), other, []byte(c.full)); err != nil {
				t.Errorf("another app: %v", err)
			}
			publish(t, s, "shop", "t", "1")
			if r, err := s.Result("shop", ids[0]); err != nil || len(r.Output) != c.answer+2 {
				t.Errorf("a result that was promised: %v", err)
			}
			clock.move(c.life - time.Second)
			if _, err := s.Result("shop", ids[len(ids)-1]); err != nil {
				t.Errorf("before its time a result is gone: %v", err)
			}
			clock.move(2 * time.Second)
			if _, err := s.Result("shop", ids[0]); !errors.Is(err, picloud.ErrResultNotFound) {
				t.Errorf("after its time: %v", err)
			}
			for range len(ids)/500 + 1 {
				publish(t, s, "shop", "t", "1") // after each group some that have ended go
			}
			if _, err := s.Accept(t.Context(), shop, []byte(c.full)); err != nil {
				t.Errorf("when the results have ended: %v", err)
			}
			s.fill(t, shop, c.full, c.answer)
			if err := s.DeleteApp(t.Context(), "shop"); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Accept(t.Context(), s.endpoint(t, "shop"), []byte(c.full)); err != nil {
				t.Errorf("in the app that has the name now: %v", err)
			}
		})
	}
}

// SR-3: a request that was accepted does not run before its answer has room, and is
// not lost.
func TestAnswersWaitForRoom(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	s := start(t, store.Config{Dir: t.TempDir(), Now: clock.Now, ResultBytes: 4 << 20, SegmentSize: 8 << 20})
	e := s.endpoint(t, "default")
	var ids []string
	for range 100 { // which may all wait: what their answers take is not known
		id, err := s.Accept(t.Context(), e, []byte(keyedRequest))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	var releases []func()
	for _, id := range ids[:4] {
		release, err := s.ReserveResult("default", id)
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	var u interface{ Unavailable() bool }
	if _, err := s.ReserveResult("default", ids[4]); !errors.As(err, &u) || !u.Unavailable() {
		t.Errorf("a fifth that runs: %v", err)
	}
	for _, release := range releases {
		release()
	}
	s.answered(t, e, ids[:4], 900_000)
	if _, err := s.ReserveResult("default", ids[4]); !errors.As(err, &u) {
		t.Errorf("with four large answers: %v", err)
	}
	if r, err := s.Result("default", ids[4]); err != nil || r.State != picloud.ResultWaiting {
		t.Errorf("what has no room is %+v, %v", r, err)
	}
	clock.move(25 * time.Hour)
	for range 2 { // the first lets go what has ended, once it is answered
		publish(t, s, "default", "t", "1")
	}
	release, err := s.ReserveResult("default", ids[4])
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// SR-3: an app may use so many idempotency keys in 24 hours. Publishing without one, other
// apps and the repeats of what was published go on, and the next period begins anew.
func TestIdempotencyKeysHaveABound(t *testing.T) {
	t.Parallel()
	clk := newClock()
	cfg := store.Config{Dir: t.TempDir(), Now: clk.Now, IdempotencyKeys: 50}
	s := start(t, cfg)
	if _, err := s.CreateApp(t.Context(), picloud.App{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	with := func(app, key string) ([]picloud.Event, error) {
		return s.Publish(t.Context(), picloud.Publication{App: app, By: picloud.LocalOperator(), IdempotencyKey: key, Drafts: []picloud.Draft{{Topic: "t", Data: []byte("1")}}})
	}
	var first []picloud.Event
	for i := range 46 {
		events, err := with("shop", fmt.Sprint("k", i))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = events
		}
	}
	if _, err := with("shop", strings.Repeat("x", 255)); err != nil { // counts as four
		t.Fatal(err)
	}
	full := func(when string) {
		t.Helper()
		_, err := with("shop", "more")
		if p := picloud.AsError(err); !errors.Is(err, picloud.ErrIdempotencyFull) || p.RetryAfter != 24*time.Hour {
			t.Errorf("%s: %v, to be repeated after %v", when, err, p.RetryAfter)
		}
		if again, err := with("shop", "k0"); err != nil || again[0].Position != first[0].Position {
			t.Errorf("%s, the repeat got %v, %v", when, again, err)
		}
	}
	full("at once")
	s.stop(t)
	s = start(t, cfg)
	full("after a restart")
	publish(t, s, "shop", "t", "1")
	if _, err := with("default", "k"); err != nil {
		t.Errorf("another app: %v", err)
	}
	clk.move(24 * time.Hour)
	if _, err := with("shop", "more"); err != nil {
		t.Errorf("in the next period: %v", err)
	}
	clk.move(-24 * time.Hour)
	if err := s.DeleteApp(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateApp(t.Context(), picloud.App{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	if _, err := with("shop", "more"); err != nil {
		t.Errorf("in the app that has the name now: %v", err)
	}
	if u := s.usage(t, "shop"); u.IdempotencyKeys.Items != 1 {
		t.Errorf("it has used %d keys", u.IdempotencyKeys.Items)
	}
}

// SR-3: an app has events under so many names of topics. A batch with one too many is
// refused as a whole; topics that are known, registered or of the system, and other
// apps, are published to; a name is forgotten when its events are gone.
func TestTopicNamesHaveABound(t *testing.T) {
	t.Parallel()
	clk := newClock()
	cfg := store.Config{
		Dir: t.TempDir(), Now: clk.Now, TopicNames: 100, SegmentSize: 64 << 10, JournalBytes: 1 << 20, CheckpointBytes: 32 << 10,
		Retention: picloud.Retention{MaxAge: time.Hour},
	}
	s := start(t, cfg)
	if _, err := s.CreateApp(t.Context(), picloud.App{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	to := func(app string, topics ...string) error {
		p := picloud.Publication{App: app, By: picloud.LocalOperator()}
		for _, topic := range topics {
			p.Drafts = append(p.Drafts, picloud.Draft{Topic: topic, Data: []byte("1")})
		}
		_, err := s.Publish(t.Context(), p)
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := map[string]bool{}
	for w := range 8 { // of which many share a commit
		wg.Go(func() {
			for i := range 20 {
				name := fmt.Sprint("t", w*15+i)
				p := picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: name, Data: []byte("1")}}}
				_, err := s.Publish(context.Background(), p)
				if err != nil && !errors.Is(err, picloud.ErrTopicsFull) {
					t.Error(err)
				}
				if err == nil {
					mu.Lock()
					taken[name] = true
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if len(taken) != 100 {
		t.Errorf("%d names were taken, want 100", len(taken))
	}
	full := func(when string) {
		t.Helper()
		if err := to("default", "one/more"); !errors.Is(err, picloud.ErrTopicsFull) {
			t.Errorf("%s: %v", when, err)
		}
		if err := to("default", "t0", "t1"); err != nil {
			t.Errorf("%s, to those there are: %v", when, err)
		}
	}
	full("at once")
	s.stop(t)
	s = start(t, cfg)
	full("after a restart")
	if err := to("other", "a", "b"); err != nil {
		t.Errorf("another app: %v", err)
	}
	if err := to("default", picloud.TopicNodeSync); err != nil {
		t.Errorf("a topic of the system: %v", err)
	}
	if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "known"}); err != nil {
		t.Fatal(err)
	}
	if err := to("default", "known"); err != nil {
		t.Errorf("a registered topic: %v", err)
	}
	for i := range 99 {
		if err := to("other", fmt.Sprint("n", i), "a"); (err != nil) != (i >= 98) {
			t.Errorf("name %d of another app: %v", i, err)
		}
	}
	if err := to("other", "a", "n98"); !errors.Is(err, picloud.ErrTopicsFull) {
		t.Errorf("a batch with one too many: %v", err)
	}
	clk.move(2 * time.Hour)
	for range 400 { // until the old segments are behind a checkpoint
		publish(t, s, "default", "known", `"`+strings.Repeat("x", 1000)+`"`)
	}
	deadline := time.Now().Add(10 * time.Second) // the checkpoint is written beside
	for err := to("default", "new"); err != nil; err = to("default", "new") {
		if time.Now().After(deadline) {
			t.Fatalf("when the events of the old names are gone: %v", err)
		}
		publish(t, s, "default", "known", `"`+strings.Repeat("x", 1000)+`"`)
	}
}

// SR-3: dead letters have a bound in each app. The oldest make room; how many is told
// until the others are purged, over restarts.
func TestDeadLettersHaveABound(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir(), SegmentSize: 8 << 20}
	s := start(t, cfg)
	tr := s.trigger(t, picloud.Trigger{Name: "t", Kind: picloud.TriggerPubSub, Topic: "t", Enabled: true})
	const letters = 90
	data := `"` + strings.Repeat("x", 1_000_000) + `"`
	for i := range letters {
		publish(t, s, "default", "t", data)
		list, err := s.Deliveries(tr, 0, 1)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		d, ok, err := s.DeliveryAt(tr, list[0].LSN)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if err := s.Bury(t.Context(), tr, d, fmt.Sprint("broken ", i)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		u := s.usage(t, "default")
		if u.DeadLetters.Bytes > u.DeadLetters.MaxBytes || u.DeadLetters.Items < 60 || u.DeadLetters.Items+u.LettersDropped != letters {
			t.Errorf("%s: %+v, %d dropped", when, u.DeadLetters, u.LettersDropped)
		}
		page, _, err := s.DeadLetters("default", picloud.LetterFilter{Limit: 1})
		if err != nil || page[0].Reason != fmt.Sprint("broken ", u.LettersDropped) {
			t.Errorf("%s, the oldest is %q, %v, after %d were dropped", when, page[0].Reason, err, u.LettersDropped)
		}
	}
	check("at once")
	s.stop(t)
	s = start(t, cfg)
	check("after a restart")
	if _, err := s.Purge(t.Context(), "default", picloud.LetterFilter{}); err != nil {
		t.Fatal(err)
	}
	if u := s.usage(t, "default"); u.DeadLetters.Items != 0 || u.DeadLetters.Bytes != 0 || u.LettersDropped != 0 {
		t.Errorf("after purging: %+v", u)
	}
}

// SR-3: scripts with their versions have a bound in each app. Old versions of the script
// that is saved make room, so that one can always be replaced.
func TestScriptsHaveABound(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir(), SegmentSize: 8 << 20})
	save := func(name string, n int) error {
		source := fmt.Sprintf("//%d %s", n, strings.Repeat("x", picloud.MaxScript-20))
		_, err := s.SaveScript(t.Context(), picloud.Script{App: "default", Name: name, Source: source}, picloud.Precondition{})
		return err
	}
	last := 0
	for ; ; last++ {
		if err := save(fmt.Sprint("s", last), 0); errors.Is(err, picloud.ErrScriptInvalid) {
			break
		} else if err != nil || last > 200 {
			t.Fatal(last, err)
		}
	}
	if last < 120 {
		t.Errorf("%d scripts were taken", last)
	}
	if err := s.DeleteScript(t.Context(), "default", "s0", picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	for n := range 30 {
		if err := save("s1", n+1); err != nil {
			t.Fatalf("version %d: %v", n, err)
		}
	}
	if list, err := s.ScriptVersions("default", "s1"); err != nil || len(list) == 0 || list[len(list)-1].Version != 31 {
		t.Errorf("%d versions, %v", len(list), err)
	}
	if u := s.usage(t, "default"); u.Scripts.Bytes > u.Scripts.MaxBytes {
		t.Errorf("%+v", u.Scripts)
	}
}

// SR-3: records of runs have a bound, in memory and on the card; the newest of each
// script is always there.
func TestRunsHaveABound(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir(), SegmentSize: 8 << 20})
	big := strings.Repeat("x", 30_000)
	for round := range 20 {
		for script := range 5 {
			for range 50 {
				s.RecordRun(picloud.Run{App: "default", Script: fmt.Sprint("s", round, "-", script), Error: "e", Stack: big})
			}
		}
		if n := s.FreshRunBytes(); n > 5<<20 {
			t.Fatalf("%d bytes of records are in memory", n)
		}
		s.RunsAreDue()
		publish(t, s, "default", "t", "1")
		for deadline := time.Now().Add(10 * time.Second); s.FreshRunBytes() > 0; { // written after the group, a part at a time
			publish(t, s, "default", "t", "1")
			if time.Now().After(deadline) {
				t.Fatalf("%d bytes of records are not written", s.FreshRunBytes())
			}
		}
	}
	u := s.usage(t, "default")
	if u.Runs.Bytes > u.Runs.MaxBytes+100*31_000 || u.Runs.Bytes < u.Runs.MaxBytes/2 {
		t.Errorf("%+v", u.Runs)
	}
	for round := range 20 {
		if list, err := s.Runs("default", fmt.Sprint("s", round, "-0"), "", 1); err != nil || len(list) != 1 {
			t.Errorf("of script %d there is %v, %v", round, list, err)
		}
	}
}
