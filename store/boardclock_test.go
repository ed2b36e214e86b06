package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// board has a clock without a battery.
type board struct {
	mu      sync.Mutex
	boot    string
	started time.Time // in truth
	now     time.Time // in truth
	wrong   time.Duration
	synced  bool
}

func (b *board) Now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now.Add(b.wrong)
}

func (b *board) Clock() store.Clock {
	b.mu.Lock()
	defer b.mu.Unlock()
	return store.Clock{Synced: b.synced, Boot: b.boot, Uptime: b.now.Sub(b.started)}
}

func (b *board) wait(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *board) sync() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong, b.synced = 0, true
}

func newBoard() *board {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return &board{boot: "first", started: start, now: start.Add(time.Minute), wrong: time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC).Sub(start.Add(time.Minute))}
}

// HW-7: events of a board that does not know the time say so; as soon as it does,
// the journal tells by how much they are wrong, over a restart too. They are not
// dropped for their age meanwhile.
func TestEventsOfABoardThatDoesNotKnowTheTime(t *testing.T) {
	t.Parallel()
	dir, b := t.TempDir(), newBoard()
	cfg := store.Config{Dir: dir, Now: b.Now, Clock: b.Clock}
	s := start(t, cfg)
	early := publish(t, s, "default", "a", "1")[0]
	truth := b.now
	if early.Stamp == nil || early.PublishedAt.Year() != 1970 {
		t.Fatalf("%+v", early)
	}
	s.stop(t)
	s = start(t, cfg)
	b.wait(time.Hour)
	b.sync()
	late := publish(t, s, "default", "a", "2")[0]
	if late.Stamp != nil || late.PublishedAt.Year() != 2026 {
		t.Errorf("%+v", late)
	}
	var started time.Time
	r, err := s.OpenLog(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		rec, err := r.Next()
		if err != nil {
			break
		}
		if rec.Change != nil && rec.Change.Kind == picloud.ChangeClock && rec.Change.Value != nil {
			started, _ = rec.Change.Value.(time.Time)
		}
	}
	if got := early.PublishedAt.Add(started.Sub(early.Stamp.Started)); !got.Equal(truth) {
		t.Errorf("put right it was at %v, in truth at %v", got, truth)
	}
	page, err := s.Events(t.Context(), picloud.HistoryQuery{App: "default", Topics: []string{"a"}})
	if err != nil || len(page.Events) != 2 || page.Events[0].Stamp == nil || page.Events[1].Stamp != nil {
		t.Errorf("history %+v, %v", page.Events, err)
	}
	if n := s.Stats().Commits; n > 3 {
		t.Errorf("%d commits", n)
	}
}

// A board that is started again before it has learnt the time leaves what it
// published as it is.
func TestTimeThatNobodyWillEverKnow(t *testing.T) {
	t.Parallel()
	dir, b := t.TempDir(), newBoard()
	cfg := store.Config{Dir: dir, Now: b.Now, Clock: b.Clock}
	s := start(t, cfg)
	publish(t, s, "default", "a", "1")
	s.stop(t)
	b.mu.Lock()
	b.boot = "second"
	b.mu.Unlock()
	s = start(t, cfg)
	publish(t, s, "default", "a", "2")
	b.sync()
	publish(t, s, "default", "a", "3")
	lines, _ := readLog(t, s, 0)
	want := []string{"+app default/default", "default/a 1", "-clock /first", "default/a 2", "-clock /first", "-clock /second", "default/a 3", "+clock /second"}
	for i := range max(len(lines), len(want)) {
		if i >= len(lines) || i >= len(want) || lines[i] != want[i] {
			t.Fatalf("the log tells %q, want %q", lines, want)
		}
	}
}

// HW-7: a board that has never known the time says so, until it does; from then on it has
// a time, also after it was started in 1970 again.
func TestTimeIsKnownOnceItWas(t *testing.T) {
	t.Parallel()
	r := &clockRig{t: t, b: newBoard()}
	r.cfg = store.Config{Dir: t.TempDir(), Now: r.b.Now, Clock: r.b.Clock}
	r.running = start(t, r.cfg)
	publish(t, r.running, "default", "a", "1")
	if r.TimeKnown() {
		t.Error("the time of 1970 is taken for known")
	}
	r.cut(time.Minute, epochStart)
	if r.TimeKnown() {
		t.Error("the time of 1970 is taken for known after a restart")
	}
	r.b.sync()
	publish(t, r.running, "default", "a", "2")
	if !r.TimeKnown() {
		t.Error("the time is not known though the kernel says so")
	}
	r.cut(time.Minute, epochStart)
	if !r.TimeKnown() || r.Now().Year() != 2026 {
		t.Errorf("after a power cut it is %v, known: %t", r.Now(), r.TimeKnown())
	}
}
