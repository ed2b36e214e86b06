package store_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// diskBytes returns the bytes that a file takes.
func diskBytes(t *testing.T, name string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// SR-3: what is deleted gives its space on the card back, and what is left is whole.
func TestDeletedRowsGiveTheirSpaceBack(t *testing.T) {
	t.Parallel()
	const n = 150
	cfg := store.Config{Dir: t.TempDir(), SegmentSize: 8 << 20, JournalBytes: 32 << 20, CheckpointBytes: 1 << 20}
	name := filepath.Join(cfg.Dir, "state.db")
	s := start(t, cfg)
	value := []byte(`"` + strings.Repeat("x", 500_000) + `"`)
	set := func(app string) {
		t.Helper()
		if _, err := s.CreateApp(t.Context(), picloud.App{Name: app}); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: app, Key: fmt.Sprint(i), Value: value}); err != nil {
				t.Fatal(err)
			}
		}
	}
	set("gone")
	if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "stays", Value: value}); err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	full := diskBytes(t, name)
	if full < n*500_000 {
		t.Fatalf("state.db takes %d bytes", full)
	}
	s = start(t, cfg)
	if err := s.DeleteApp(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	if left := diskBytes(t, name); left > full/4 {
		t.Errorf("state.db takes %d of %d bytes when all but one value are deleted", left, full)
	}
	s = start(t, cfg)
	if err := s.CheckState(); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Entry("default", "stays"); err != nil || string(e.Value) != string(value) {
		t.Errorf("what stays has %d bytes, %v", len(e.Value), err)
	}
	set("again")
	s.stop(t)
	s = start(t, cfg)
	if e, err := s.Entry("again", fmt.Sprint(n-1)); err != nil || string(e.Value) != string(value) || s.Health().Degraded {
		t.Errorf("what is written into the holes has %d bytes, %v", len(e.Value), err)
	}
	if err := s.CheckState(); err != nil {
		t.Error(err)
	}
}
