package store_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
	"github.com/picloud/picloud/store"
)

// cutOff is a disk and a clock that note what the directory is like whenever the start does
// something with them: as starts leave it that are killed then.
type cutOff struct {
	journal.OS
	note func()
}

func (c *cutOff) Create(name string) (journal.File, error) { c.note(); return c.OS.Create(name) }
func (c *cutOff) Rename(from, to string) error             { c.note(); return c.OS.Rename(from, to) }
func (c *cutOff) Link(from, to string) error               { c.note(); return c.OS.Link(from, to) }
func (c *cutOff) Remove(name string) error                 { c.note(); return c.OS.Remove(name) }
func (c *cutOff) SyncDir(dir string) error                 { c.note(); return c.OS.SyncDir(dir) }

func (c *cutOff) Open(name string) (journal.File, error) {
	f, err := c.OS.Open(name)
	return cutOffFile{f, c}, err
}

type cutOffFile struct {
	journal.File
	disk *cutOff
}

func (f cutOffFile) Datasync() error { f.disk.note(); return f.File.Datasync() }

// Write implements io.Writer for what is logged.
func (c *cutOff) Write(b []byte) (int, error) { c.note(); return len(b), nil }

// facts are what of an incident is the same whichever start finds it.
var facts = regexp.MustCompile(`Records \d+ to \d+ |records \d+ to \d+ |The journal is gone|damaged in end|state\.db (could not be used|was damaged)|node\.json|no checkpoint|recovery key is a new one`)

// DM-1, DM-6: wherever a start is cut off that has found damage, the next one tells what it
// would have told: losses, that a file was set aside, and that the recovery key is a new
// one; and positions begin another history.
func TestWhatAStartHasFoundIsToldByTheNext(t *testing.T) {
	t.Parallel()
	good, segments, _ := longJournal(t)
	s := start(t, store.Config{Dir: copyDir(t, good.Dir)})
	history := s.Node().Epoch
	inJournal := func(dir, name string) string { return filepath.Join(dir, "journal", name) }
	spoil := func(dir, name string) error { return os.WriteFile(filepath.Join(dir, name), nil, 0o600) }
	newest := segments[len(segments)-1]
	for name, damage := range map[string]func(t *testing.T, dir string) error{
		"records, and the checkpoint is lost": func(t *testing.T, dir string) error {
			t.Helper()
			flipInRecords(t, inJournal(dir, segments[1]))
			flipInRecords(t, inJournal(dir, segments[len(segments)-2]))
			return errors.Join(os.Remove(inJournal(dir, newest)), removeState(dir))
		},
		"records, and the checkpoint is damaged": func(t *testing.T, dir string) error {
			t.Helper()
			flipInRecords(t, inJournal(dir, segments[1]))
			reshape(t, filepath.Join(dir, "state.db"), func(b []byte) []byte { clear(b[:8192]); return b })
			return nil
		},
		"the header of the newest file": func(_ *testing.T, dir string) error { return spoil(dir, "journal/"+newest) },
		"the oldest file is missing":    func(_ *testing.T, dir string) error { return os.Remove(inJournal(dir, segments[0])) },
		"a directory instead of a file": func(_ *testing.T, dir string) error {
			return errors.Join(os.Remove(inJournal(dir, segments[2])), os.Mkdir(inJournal(dir, segments[2]), 0o700))
		},
		"the journal": func(_ *testing.T, dir string) error { return os.RemoveAll(filepath.Join(dir, "journal")) },
		"end":         func(_ *testing.T, dir string) error { return os.Remove(inJournal(dir, "end")) },
		"who it is": func(_ *testing.T, dir string) error {
			return errors.Join(spoil(dir, "node.json"), spoil(dir, "node.json.copy"))
		},
		"who it is, and the checkpoint": func(_ *testing.T, dir string) error {
			return errors.Join(spoil(dir, "node.json"), spoil(dir, "node.json.copy"), os.Truncate(filepath.Join(dir, "state.db"), 9000))
		},
		"node.json": func(_ *testing.T, dir string) error { return spoil(dir, "node.json") },
		"who it is, and the newest file": func(_ *testing.T, dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "node.json")), os.Remove(filepath.Join(dir, "node.json.copy")), os.Remove(inJournal(dir, newest)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			cfg.Dir = copyDir(t, good.Dir)
			if err := damage(t, cfg.Dir); err != nil {
				t.Fatal(err)
			}
			var left []string
			disk := &cutOff{note: func() { left = append(left, copyDir(t, cfg.Dir)) }}
			hooked := cfg
			hooked.JournalFS, hooked.Logger = disk, slog.New(slog.NewTextHandler(disk, nil))
			hooked.Now = func() time.Time { disk.note(); return time.Now() }
			s, err := store.Open(hooked)
			if err != nil {
				t.Fatal(err)
			}
			want, epoch, entries := told(s), s.Node().Epoch, countEntries(t, s)
			if err := s.Close(); err != nil || len(want) == 0 {
				t.Fatal("nothing is told", err)
			}
			for i, dir := range left {
				cfg.Dir = dir
				s, err := store.Open(cfg)
				if err != nil {
					t.Fatalf("after %d of %d steps: %v", i, len(left), err)
				}
				for _, want := range want {
					if got := told(s); !slices.Contains(got, want) {
						t.Errorf("after %d of %d steps %q is not told, but %q: %s", i, len(left), want, got, strings.Join(s.Health().Notes, "\n"))
					}
				}
				if n := countEntries(t, s); n != entries {
					t.Errorf("after %d of %d steps %d entries are there, not %d", i, len(left), n, entries)
				}
				if epoch != history && s.Node().Epoch == history {
					t.Errorf("after %d of %d steps positions go on in the history that has lost something", i, len(left))
				}
				if err := errors.Join(s.Close(), os.RemoveAll(dir)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// told returns the facts that incidents tell.
func told(s *store.Store) (told []string) {
	for _, in := range s.Incidents() {
		told = append(told, facts.FindAllString(in.Text, -1)...)
	}
	slices.Sort(told)
	return slices.Compact(told)
}

func countEntries(t *testing.T, s *store.Store) int {
	t.Helper()
	page, err := s.Entries(picloud.EntryList{App: "default", Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Entries)
}
