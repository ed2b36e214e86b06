package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// bigJournal returns a directory whose journal has many times what may be in memory, and
// whose state.db is lost, and the configuration to open it with.
func bigJournal(t *testing.T, budget int64) (cfg store.Config) {
	t.Helper()
	cfg = store.Config{Dir: t.TempDir(), SegmentSize: 4 << 20, JournalBytes: budget, ReserveBytes: -1}
	s := start(t, cfg)
	s.trigger(t, picloud.Trigger{Name: "t", Kind: picloud.TriggerKV, Enabled: true})
	value := []byte(`"` + strings.Repeat("x", 100_000) + `"`)
	for i := range 400 {
		if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: fmt.Sprint(i % 300), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Dir = killed(t, s, cfg.Dir)
	if err := os.Remove(filepath.Join(cfg.Dir, "state.db")); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// DM-6, SR-4: a start that replays much needs no more memory than a node that runs.
func TestStartReplaysInBoundedMemory(t *testing.T) {
	t.Parallel()
	cfg := bigJournal(t, 256<<20)
	s, err := store.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if n := s.TableBytes(); n > 5<<20 {
		t.Errorf("%d bytes of rows are in memory after the start", n)
	}
	tr, err := s.Trigger("default", "t")
	if err != nil || s.CountDeliveries(tr) != 400 || s.Health().Degraded {
		t.Errorf("%d deliveries wait, want 400; %v, %+v", s.CountDeliveries(tr), err, s.Health())
	}
	for i := range 300 {
		if e, err := s.Entry("default", fmt.Sprint(i)); err != nil || len(e.Value) != 100_002 {
			t.Fatalf("key %d has %d bytes, %v", i, len(e.Value), err)
		}
	}
}

// DM-5, DM-6: a start that ends in the middle is gone on with, and what it found to be
// lost is told by the next one as if there had been one only.
func TestStartThatWasCutOffIsGoneOnWith(t *testing.T) {
	t.Parallel()
	cfg := bigJournal(t, 20<<20)
	identity := func(dir string) string {
		b, err := os.ReadFile(filepath.Join(dir, "node.json"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := identity(cfg.Dir)
	var left []string // directories as starts leave them that are killed before they draw conclusions
	hooked := cfg
	hooked.Now = func() time.Time { // the clock is read at every checkpoint
		if len(left) < 12 && identity(cfg.Dir) == first {
			left = append(left, copyDir(t, cfg.Dir))
		}
		return time.Now()
	}
	s, err := store.Open(hooked)
	if err != nil {
		t.Fatal(err)
	}
	want := s.Health().Notes
	if err := s.Close(); err != nil || len(want) == 0 {
		t.Fatal("the lost state.db is not told", want, err)
	}
	goneOn := 0
	for _, dir := range left {
		cfg.Dir = dir
		before, err := os.Stat(filepath.Join(dir, "state.db"))
		if err == nil && before.Size() > 4<<20 {
			goneOn++
		}
		s, err := store.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := s.Trigger("default", "t")
		if got := s.Health().Notes; err != nil || !slices.Equal(got, want) || s.CountDeliveries(tr) == 0 {
			t.Errorf("after a start that was cut off the node tells %q, %v, want %q", got, err, want)
		}
		if e, err := s.Entry("default", "99"); err != nil || len(e.Value) != 100_002 {
			t.Errorf("the newest key has %d bytes, %v", len(e.Value), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if goneOn < 3 {
		t.Errorf("%d starts were cut off behind a checkpoint: the test shows nothing", goneOn)
	}
}
