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

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// PB-4: an Idempotency-Key answers the first result for 24 hours, over a
// restart, and is refused for another request.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	dir, clk := t.TempDir(), newClock()
	s := start(t, store.Config{Dir: dir, Now: clk.Now})
	p := picloud.Publication{
		App: "default", By: picloud.LocalOperator(), IdempotencyKey: "k1",
		Drafts: []picloud.Draft{{Topic: "a", Data: []byte(`1`)}, {Topic: "b", Data: []byte(`2`)}},
	}
	first, err := s.Publish(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	same := func(when string) {
		t.Helper()
		again, err := s.Publish(t.Context(), p)
		if err != nil || len(again) != 2 || again[0].Position != first[0].Position || again[1].Position != first[1].Position ||
			!again[0].PublishedAt.Equal(first[0].PublishedAt) {
			t.Errorf("%s: %+v, %v; want %+v", when, again, err, first)
		}
	}
	same("at once")
	other := p
	other.Drafts = []picloud.Draft{{Topic: "a", Data: []byte(`1`)}, {Topic: "b", Data: []byte(`3`)}}
	if _, err := s.Publish(t.Context(), other); !errors.Is(err, picloud.ErrIdempotencyReused) {
		t.Errorf("another request under the key: %v", err)
	}
	s.stop(t)
	clk.move(23 * time.Hour)
	s = start(t, store.Config{Dir: dir, Now: clk.Now})
	same("after a restart, 23 hours later")
	killed := start(t, store.Config{Dir: copyDir(t, dir), Now: clk.Now})
	if again, err := killed.Publish(t.Context(), p); err != nil || again[0].Position != first[0].Position {
		t.Errorf("after a kill: %v, %v", again, err)
	}
	clk.move(2 * time.Hour)
	later, err := s.Publish(t.Context(), p)
	if err != nil || later[0].Seq != 3 {
		t.Errorf("after 25 hours: %v, %v; want new events", later, err)
	}
	if got := len(s.heard.all()); got != 2 {
		t.Errorf("the restarted node broadcast %d events, want 2", got)
	}
}

// PB-3, PB-5: concurrent batches are whole, in order, and every consumer sees
// the same order.
func TestConcurrentBatchesKeepOrder(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir(), SegmentSize: 256 << 10})
	const publishers, rounds, size = 8, 40, 5
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for r := range rounds {
				pub := picloud.Publication{App: "default", By: picloud.LocalOperator()}
				for i := range size {
					pub.Drafts = append(pub.Drafts, picloud.Draft{Topic: "t", Data: fmt.Appendf(nil, "[%d,%d,%d]", p, r, i)})
				}
				events, err := s.Publish(context.Background(), pub)
				if err != nil {
					t.Error(err)
					return
				}
				for i := range events {
					if events[i].Seq != events[0].Seq+uint64(i) {
						t.Errorf("batch is not in one piece: %v", events)
					}
				}
			}
		})
	}
	wg.Wait()
	heard := s.heard.all()
	if len(heard) != publishers*rounds*size {
		t.Fatalf("heard %d", len(heard))
	}
	for i, e := range heard {
		if e.Seq != uint64(i)+1 {
			t.Fatalf("heard sequence %d at place %d", e.Seq, i)
		}
	}
	got := history(t, s, "default", "t")
	page, err := s.Events(t.Context(), picloud.HistoryQuery{App: "default", Topics: []string{"t"}, After: 1000})
	if err != nil || len(got) != 1000 || len(page.Events) != 600 {
		t.Errorf("history has %d and then %d events, %v", len(got), len(page.Events), err)
	}
}

// PB-7: a full intake is told, nothing waits without bound.
func TestFullIntakeIsRefused(t *testing.T) {
	t.Parallel()
	s, err := store.Open(store.Config{Dir: t.TempDir(), Intake: 3, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	results := make(chan error, 8)
	for range 8 { // nobody takes them: the committer does not run yet
		wg.Go(func() {
			_, err := s.Publish(ctx, picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "t", Data: []byte("1")}}})
			results <- err
		})
	}
	for range 6 {
		if err := <-results; !errors.Is(err, picloud.ErrBusy) || picloud.AsError(err).RetryAfter <= 0 {
			t.Errorf("with a full intake: %v", err)
		}
	}
	run, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(run) }()
	for range 2 {
		if err := <-results; err != nil {
			t.Errorf("accepted, then: %v", err)
		}
	}
	wg.Wait()
	cancel()
	stop()
	if err := errors.Join(<-done, s.Close()); err != nil {
		t.Error(err)
	}
	_, err = s.Publish(t.Context(), picloud.Publication{App: "default", Drafts: []picloud.Draft{{Topic: "t", Data: []byte("1")}}})
	if !errors.Is(err, picloud.ErrStopping) {
		t.Errorf("after the end: %v", err)
	}
}

// PB-7: below the disk reserve publishing is refused; reading and deciding go
// on.
func TestDiskReserve(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir(), ReserveBytes: 1 << 60})
	_, err := s.Publish(t.Context(), picloud.Publication{App: "default", Drafts: []picloud.Draft{{Topic: "t", Data: []byte("1")}}})
	if !errors.Is(err, picloud.ErrNoSpace) {
		t.Errorf("publish: %v", err)
	}
	if h := s.Health(); !h.NoSpace || !h.Degraded {
		t.Errorf("health %+v", h)
	}
	if got := history(t, s, "default", "t"); len(got) != 0 {
		t.Errorf("stored %v", got)
	}
}

// TP-5: retention by count, bytes and age.
func TestRetention(t *testing.T) {
	t.Parallel()
	clk := newClock()
	s := start(t, store.Config{Dir: t.TempDir(), Now: clk.Now, SegmentSize: 64 << 10})
	topics := map[string]picloud.Retention{
		"count": {MaxEvents: 3}, "bytes": {MaxBytes: 1000}, "age": {MaxAge: time.Hour}, "all": {},
	}
	for name, r := range topics {
		if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: name, Retention: r}); err != nil {
			t.Fatal(err)
		}
	}
	data := `"` + strings.Repeat("x", 298) + `"`
	var last []picloud.Event
	for i := range 10 {
		if i == 5 {
			clk.move(2 * time.Hour)
		}
		for name := range topics {
			last = publish(t, s, "default", name, data)
		}
	}
	for name, want := range map[string]int{"count": 3, "bytes": 3, "age": 5, "all": 10} {
		if got := history(t, s, "default", name); len(got) != want {
			t.Errorf("%s: %d events, want %d", name, len(got), want)
		}
	}
	early := picloud.Position{Epoch: last[0].Epoch, Seq: 4}
	if err := s.CheckPosition("default", []string{"count"}, early); !errors.Is(err, picloud.ErrPositionGone) {
		t.Errorf("early position: %v", err)
	}
	if err := s.CheckPosition("default", []string{"all"}, early); err != nil {
		t.Errorf("early position on the topic that has all: %v", err)
	}
	if err := s.CheckPosition("default", []string{"all"}, picloud.Position{Epoch: early.Epoch, Seq: 99}); !errors.Is(err, picloud.ErrPositionForeign) {
		t.Errorf("position from the future: %v", err)
	}
}

// TP-5: the journal stays within its budget, and what has gone with a segment
// is told as gone.
func TestJournalStaysWithinBudget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir, SegmentSize: 64 << 10, JournalBytes: 400 << 10, CheckpointBytes: 100 << 10})
	if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "t"}); err != nil {
		t.Fatal(err)
	}
	pad := strings.Repeat("x", 1000)
	var first, last picloud.Event
	for i := range 1500 {
		e := publish(t, s, "default", "t", fmt.Sprintf(`"%d %s"`, i, pad))
		if i == 0 {
			first = e[0]
		}
		last = e[0]
	}
	if got := s.Stats().JournalBytes; got > 700<<10 {
		t.Errorf("the journal has %d bytes", got)
	}
	if err := s.CheckPosition("default", []string{"t"}, first.Position); !errors.Is(err, picloud.ErrPositionGone) {
		t.Errorf("first position: %v", err)
	}
	if err := s.CheckPosition("default", []string{"t"}, last.Position); err != nil {
		t.Errorf("last position: %v", err)
	}
	want := history(t, s, "default", "t")
	node := s.Node()
	s.stop(t)
	// The catalog comes back even without state.db, though the journal no longer
	// has its beginning.
	if err := removeState(dir); err != nil {
		t.Fatal(err)
	}
	s = start(t, store.Config{Dir: dir, SegmentSize: 64 << 10})
	if _, err := s.Topic("default", "t"); err != nil {
		t.Error(err)
	}
	if got := history(t, s, "default", "t"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
	if s.Node().Epoch != node.Epoch {
		t.Error("another epoch began, though nothing was lost")
	}
}

// RT-6, TP-5: a reader of a quiet topic resumes exactly, however much of other
// topics was dropped meanwhile; one that has missed something is told.
func TestQuietTopicResumesAfterSegmentsWereDropped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := store.Config{Dir: dir, SegmentSize: 64 << 10, JournalBytes: 400 << 10, CheckpointBytes: 100 << 10}
	s := start(t, cfg)
	create := func(name string) {
		t.Helper()
		if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	create("door")
	create("deleted")
	publish(t, s, "default", "late", `0`)
	publish(t, s, "default", "door", `1`)
	publish(t, s, "default", "deleted", `1`)
	opened := publish(t, s, "default", "door", `2`)[0]
	if err := s.DeleteTopic(t.Context(), "default", "deleted"); err != nil {
		t.Fatal(err)
	}
	pad := strings.Repeat("x", 1000)
	for i := range 1500 {
		publish(t, s, "default", "noise", fmt.Sprintf(`"%d %s"`, i, pad))
	}
	if h := history(t, s, "default", "door"); len(h) != 0 {
		t.Fatalf("nothing was dropped: %v", h)
	}
	create("late")
	check := func(when string) {
		t.Helper()
		at := func(seq uint64) picloud.Position { return picloud.Position{Epoch: opened.Epoch, Seq: seq} }
		for _, c := range []struct {
			topic string
			pos   picloud.Position
			want  error
		}{
			{"door", opened.Position, nil},
			{"door", at(opened.Seq - 1), picloud.ErrPositionGone},
			{"late", opened.Position, picloud.ErrPositionGone}, // nobody noted what went before it was registered
			{"unregistered", opened.Position, picloud.ErrPositionGone},
		} {
			if err := s.CheckPosition("default", []string{c.topic}, c.pos); !errors.Is(err, c.want) {
				t.Errorf("%s: %s at %d: %v, want %v", when, c.topic, c.pos.Seq, err, c.want)
			}
		}
		if n := s.FloorRows(); n != 2 {
			t.Errorf("%s: %d floors are kept, want those of door and late", when, n)
		}
	}
	check("at once")
	s.stop(t)
	s = start(t, cfg)
	check("after a restart")
	s.stop(t)
	if err := removeState(dir); err != nil {
		t.Fatal(err)
	}
	s = start(t, cfg)
	check("without state.db")
}

// SR-5: an idempotency key of a deleted app means nothing to the app that has its
// name now: what that publishes under it is stored.
func TestIdempotencyKeyOfADeletedApp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	ctx := t.Context()
	request := picloud.Publication{App: "shop", By: picloud.LocalOperator(), IdempotencyKey: "once", Drafts: []picloud.Draft{{Topic: "a", Data: []byte("1")}}}
	var last picloud.Event
	for i := range 3 {
		if _, err := s.CreateApp(ctx, picloud.App{Name: "shop"}); err != nil {
			t.Fatal(err)
		}
		first, err := s.Publish(ctx, request)
		if err != nil || first[0].Seq <= last.Seq {
			t.Fatalf("app %d: %+v, %v; the app before had %d", i, first, err, last.Seq)
		}
		if i == 1 { // the answers are remembered over a restart, too
			s.stop(t)
			s = start(t, store.Config{Dir: dir})
		}
		again, err := s.Publish(ctx, request)
		if err != nil || again[0].Seq != first[0].Seq || len(history(t, s, "shop", "a")) != 1 {
			t.Errorf("app %d: repeated %+v, %v; history %v", i, again, err, history(t, s, "shop", "a"))
		}
		last = first[0]
		if err := s.DeleteApp(ctx, "shop"); err != nil {
			t.Fatal(err)
		}
	}
}
