package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
	"github.com/picloud/picloud/store"
)

// longJournal makes a directory whose journal has several files, and returns their names,
// oldest first, and a state.db as it was when half of them were there.
func longJournal(t *testing.T) (cfg store.Config, segments []string, earlier []byte) {
	t.Helper()
	cfg = store.Config{Dir: t.TempDir(), SegmentSize: 64 << 10, ReserveBytes: -1}
	for half := range 2 {
		s := start(t, cfg)
		for i := range 20 {
			if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: fmt.Sprint(20*half + i), Value: []byte(`"` + strings.Repeat("x", 8000) + `"`)}); err != nil {
				t.Fatal(err)
			}
		}
		if half == 0 {
			s.stop(t)
			b, err := os.ReadFile(filepath.Join(cfg.Dir, "state.db"))
			if err != nil {
				t.Fatal(err)
			}
			earlier = b
			continue
		}
		awaitFooters(t, cfg.Dir)
		s.stop(t)
	}
	segments, err := filepath.Glob(filepath.Join(cfg.Dir, "journal", "*.log"))
	if err != nil || len(segments) < 5 {
		t.Fatal(segments, err)
	}
	for i := range segments {
		segments[i] = filepath.Base(segments[i])
	}
	return cfg, segments, earlier
}

// flipInRecords flips a bit in the records of a file of the journal.
func flipInRecords(t *testing.T, name string) {
	t.Helper()
	reshape(t, name, func(b []byte) []byte { b[20_000] ^= 1; return b })
}

// losses returns what is told of lost records, and how much is told in all.
func losses(s *store.Store) (records []string, all int) {
	for _, in := range s.Incidents() {
		if strings.Contains(in.Text, "are lost") {
			records = append(records, in.Text)
		}
	}
	return records, len(s.Incidents())
}

// OP-7, DM-2: whatever becomes of the checkpoint, damaged records stop no start, and each
// loss is told: those of the last file that is left when the newest is lost included.
func TestDamagedRecordsStopNoStart(t *testing.T) {
	t.Parallel()
	good, segments, earlier := longJournal(t)
	newest := segments[len(segments)-1]
	state := map[string]func(path string) error{
		"kept":    func(string) error { return nil },
		"missing": os.Remove,
		"stale":   func(path string) error { return os.WriteFile(path, earlier, 0o600) },
		"a bad row": func(path string) error {
			b, err := os.ReadFile(path)
			b[bytes.Index(b, []byte("xxxxxxxx"))] ^= 1
			return errors.Join(err, os.WriteFile(path, b, 0o600))
		},
	}
	last := map[string]func(path string) error{
		"kept":    func(string) error { return nil },
		"missing": os.Remove,
		"a pipe":  func(path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) },
	}
	for checkpoint, damage := range state {
		for file, lose := range last {
			t.Run(fmt.Sprintf("state.db is %s, the newest file is %s", checkpoint, file), func(t *testing.T) {
				t.Parallel()
				cfg := good
				cfg.Dir = copyDir(t, good.Dir)
				read := segments[len(segments)-2 : len(segments)-1 : len(segments)-1]
				switch checkpoint {
				case "kept":
					read = nil // the checkpoint is beyond
				case "missing", "a bad row":
					read = append(read, segments[1])
				}
				for _, name := range read {
					flipInRecords(t, filepath.Join(cfg.Dir, "journal", name))
				}
				if err := errors.Join(damage(filepath.Join(cfg.Dir, "state.db")), lose(filepath.Join(cfg.Dir, "journal", newest))); err != nil {
					t.Fatal(err)
				}
				s := start(t, cfg)
				if file != "kept" {
					read = append(read, newest)
				}
				told := fmt.Sprint(s.Health().Notes)
				for _, name := range read {
					if !strings.Contains(told, name) {
						t.Errorf("the loss of records in %s is not told: %s", name, told)
					}
				}
				if records, _ := losses(s.Store); len(records) < len(read) {
					t.Errorf("%d losses are told, want %d: %s", len(records), len(read), told)
				}
			})
		}
	}
}

// forgetful is a disk that gives a file back as it was written to those who look at it
// before anything is replayed, and with a bit flipped from then on.
type forgetful struct {
	journal.OS
	name  string
	looks atomic.Int64
}

func (f *forgetful) Open(name string) (journal.File, error) {
	file, err := f.OS.Open(name)
	if err != nil || filepath.Base(name) != f.name {
		return file, err
	}
	return &forgetfulFile{File: file, disk: f}, nil
}

type forgetfulFile struct {
	journal.File
	disk *forgetful
}

func (f *forgetfulFile) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(b, at)
	const bad = 20_000
	if at > bad || at+int64(n) <= bad {
		return n, err
	}
	if f.disk.looks.Add(1) > 2 { // what looks for newer formats, and what opens the journal
		b[bad-at] ^= 1
	}
	return n, err
}

// DM-2: a record that the disk gives back to the start's first look and not to the second
// is lost and told, and what follows is replayed.
func TestRecordThatIsLostDuringTheStart(t *testing.T) {
	t.Parallel()
	cfg, segments, _ := longJournal(t)
	if err := removeState(cfg.Dir); err != nil {
		t.Fatal(err)
	}
	cfg.JournalFS = &forgetful{name: segments[1]}
	s := start(t, cfg)
	records, _ := losses(s.Store)
	if len(records) != 1 || !strings.Contains(records[0], "could not be read") {
		t.Errorf("told is %q", records)
	}
	if page, err := s.Entries(picloud.EntryList{App: "default", Limit: 100}); err != nil || len(page.Entries) != 39 {
		t.Errorf("%d of 40 entries are there, %v", len(page.Entries), err)
	}
}

// DM-2, DM-3: where state.db is of another journal all of this one is read, and what is
// damaged in it is mended.
func TestStateOfAnotherJournalAndDamagedRecords(t *testing.T) {
	t.Parallel()
	cfg, segments, _ := longJournal(t)
	other := cfg
	other.Dir = copyDir(t, cfg.Dir)
	if err := os.RemoveAll(filepath.Join(other.Dir, "journal")); err != nil {
		t.Fatal(err)
	}
	start(t, other).stop(t)
	b, err := os.ReadFile(filepath.Join(other.Dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.Dir, "state.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	flipInRecords(t, filepath.Join(cfg.Dir, "journal", segments[1]))
	s := start(t, cfg)
	told := fmt.Sprint(s.Health().Notes)
	if !strings.Contains(told, segments[1]+": records are damaged") || !strings.Contains(told, "another journal") {
		t.Errorf("told is %s", told)
	}
	if page, err := s.Entries(picloud.EntryList{App: "default", Limit: 100}); err != nil || len(page.Entries) != 39 {
		t.Errorf("%d of 40 entries are there, %v", len(page.Entries), err)
	}
}
