package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// given remembers every position that anybody has been told, and every LSN.
type given struct {
	positions map[string]bool // app and position
	lsns      map[string]uint64
	cursors   map[string]picloud.Position // the newest of each app
}

// publish publishes some events and fails when a position was given before.
func (g *given) publish(t *testing.T, s *running, app string, n int) {
	t.Helper()
	if _, err := s.App(app); err != nil {
		if _, err := s.CreateApp(t.Context(), picloud.App{Name: app}); err != nil {
			t.Fatal(err)
		}
	}
	epoch := s.Node().Epoch.String()
	before := g.lsns[epoch]
	for range n {
		e := publish(t, s, app, "t", `"`+strings.Repeat("x", 1000)+`"`)[0]
		id := app + " " + e.Position.String()
		if g.positions[id] {
			t.Errorf("position %s is given twice", id)
		}
		g.positions[id], g.cursors[app] = true, e.Position
	}
	if lsn := s.LastLSN(); lsn < before+uint64(n) { // #nosec G115 -- small
		t.Errorf("LSN %d of epoch %s is given again: %d was the newest", lsn, epoch, before)
	}
	g.lsns[epoch] = max(before, s.LastLSN())
}

// newestSegment returns the path of the journal's newest file.
func newestSegment(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "journal", "*.log"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	return slices.Max(names)
}

// awaitFooters waits until all files of a journal but the newest have their footers: by
// the last one it is known that there is another file.
func awaitFooters(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "journal", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names[:max(0, len(names)-1)] {
		for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() { // the committer writes it when it has time
			b, err := os.ReadFile(name)
			if err != nil || len(b) >= 48 && string(b[len(b)-48:len(b)-40]) == "PICLOUDF" {
				break // or it was dropped
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has no footer", name)
			}
		}
	}
}

// reshape changes the content of a file.
func reshape(t *testing.T, name string, fn func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, fn(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// lastPage returns how many bytes records take in a segment, and where their last page
// begins.
func lastPage(b []byte) (from, end int) {
	end = len(bytes.TrimRight(b[:len(b)-48], "\x00"))
	return (end - 1) &^ 4095, end
}

// damages are what can become of the files that say how far positions have come. killed
// and stopped are whether it is told of a node that was killed and of one that was
// stopped.
var damages = []struct {
	name            string
	do              func(t *testing.T, dir string)
	killed, stopped bool
	again           bool // it is told the second time: a start has noted more
}{
	{"nothing", func(*testing.T, string) {}, false, false, false},
	{"tail of zeros", func(t *testing.T, dir string) {
		t.Helper()
		reshape(t, newestSegment(t, dir), func(b []byte) []byte { from, end := lastPage(b); clear(b[from:end]); return b })
	}, false, true, false},
	{"tail of ones", func(t *testing.T, dir string) {
		t.Helper()
		reshape(t, newestSegment(t, dir), func(b []byte) []byte {
			from, end := lastPage(b)
			copy(b[from:end], bytes.Repeat([]byte{0xff}, end-from))
			return b
		})
	}, false, true, false},
	{"tail cut", func(t *testing.T, dir string) {
		t.Helper()
		reshape(t, newestSegment(t, dir), func(b []byte) []byte { from, _ := lastPage(b); return b[:from] })
	}, true, true, false},
	{"newest file of zeros behind its header", func(t *testing.T, dir string) {
		t.Helper()
		reshape(t, newestSegment(t, dir), func(b []byte) []byte { clear(b[4096:]); return b })
	}, false, true, true},
	{"newest file of zeros", func(t *testing.T, dir string) {
		t.Helper()
		reshape(t, newestSegment(t, dir), func(b []byte) []byte { clear(b); return b })
	}, true, true, false},
	{"newest file empty", func(t *testing.T, dir string) {
		t.Helper()
		reshape(t, newestSegment(t, dir), func([]byte) []byte { return nil })
	}, true, true, false},
	{"newest file missing", func(t *testing.T, dir string) { t.Helper(); try(t, os.Remove(newestSegment(t, dir))) }, true, true, false},
	{"newest file a directory", func(t *testing.T, dir string) {
		t.Helper()
		name := newestSegment(t, dir)
		try(t, os.Remove(name))
		try(t, os.Mkdir(name, 0o700))
	}, true, true, false},
	{"oldest file a pipe", func(t *testing.T, dir string) {
		t.Helper()
		name := filepath.Join(dir, "journal", fmt.Sprintf("%020d.log", 1))
		try(t, os.Remove(name))
		try(t, unix.Mkfifo(name, 0o600))
	}, true, true, false},
	{"oldest file missing", func(t *testing.T, dir string) {
		t.Helper()
		try(t, os.Remove(filepath.Join(dir, "journal", fmt.Sprintf("%020d.log", 1))))
	}, true, true, false},
	{"end missing", func(t *testing.T, dir string) { t.Helper(); try(t, os.Remove(filepath.Join(dir, "journal", "end"))) }, true, true, false},
	{"journal missing", func(t *testing.T, dir string) { t.Helper(); try(t, os.RemoveAll(filepath.Join(dir, "journal"))) }, true, true, false},
	{"journal empty", func(t *testing.T, dir string) {
		t.Helper()
		try(t, os.RemoveAll(filepath.Join(dir, "journal")))
		try(t, os.Mkdir(filepath.Join(dir, "journal"), 0o700))
	}, true, true, false},
	{"journal a file", func(t *testing.T, dir string) {
		t.Helper()
		try(t, os.RemoveAll(filepath.Join(dir, "journal")))
		try(t, os.WriteFile(filepath.Join(dir, "journal"), nil, 0o600))
	}, true, true, false},
	{"journal and state missing", func(t *testing.T, dir string) {
		t.Helper()
		try(t, os.RemoveAll(filepath.Join(dir, "journal")))
		try(t, os.Remove(filepath.Join(dir, "state.db")))
	}, true, true, false},
	{"newest file missing, damaged a file", func(t *testing.T, dir string) {
		t.Helper()
		reshape(t, newestSegment(t, dir), func(b []byte) []byte { clear(b); return b })
		try(t, os.RemoveAll(filepath.Join(dir, "damaged")))
		try(t, os.WriteFile(filepath.Join(dir, "damaged"), nil, 0o600))
	}, true, true, false},
	{"state missing", func(t *testing.T, dir string) { t.Helper(); try(t, os.Remove(filepath.Join(dir, "state.db"))) }, false, false, false},
	{"state missing and tail of zeros", func(t *testing.T, dir string) {
		t.Helper()
		try(t, os.Remove(filepath.Join(dir, "state.db")))
		reshape(t, newestSegment(t, dir), func(b []byte) []byte { from, end := lastPage(b); clear(b[from:end]); return b })
	}, false, true, false},
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// DM-1, DM-2: whatever becomes of the end of the journal, the node starts, tells what it
// can know to be lost, gives no position and no LSN again, and a cursor either goes on or
// is told of another history. It does so again when the same happens again.
func TestNoPositionIsGivenTwice(t *testing.T) {
	t.Parallel()
	for _, d := range damages {
		for _, stop := range []string{"killed", "stopped"} {
			t.Run(d.name+", "+stop, func(t *testing.T) {
				t.Parallel()
				cfg := store.Config{Dir: t.TempDir(), SegmentSize: 64 << 10, ReserveBytes: -1}
				g := given{positions: map[string]bool{}, lsns: map[string]uint64{}, cursors: map[string]picloud.Position{}}
				s := start(t, cfg)
				g.publish(t, s, "default", 150)
				g.publish(t, s, "late", 3) // an app that the tail takes with it
				epoch := s.Node().Epoch
				told := d.killed
				if stop == "stopped" {
					told = d.stopped
				}
				for round := range 2 {
					told = told || round > 0 && d.again
					if stop == "stopped" {
						s.stop(t)
						cfg.Dir = copyDir(t, cfg.Dir)
					} else {
						awaitFooters(t, cfg.Dir)
						cfg.Dir = killed(t, s, cfg.Dir)
					}
					if _, err := os.Stat(filepath.Join(cfg.Dir, "journal", fmt.Sprintf("%020d.log", 1))); err != nil && strings.HasPrefix(d.name, "oldest") {
						return // it is not there any more
					}
					d.do(t, cfg.Dir)
					began := time.Now()
					s = start(t, cfg)
					if took := time.Since(began); took > 20*time.Second {
						t.Errorf("the start took %v", took)
					}
					if renewed := s.Node().Epoch != epoch; renewed != told || told && !s.Health().Degraded {
						t.Errorf("another epoch: %v, health %+v; want it told: %v", renewed, s.Health(), told)
					}
					epoch = s.Node().Epoch
					for app, cursor := range g.cursors {
						if _, err := s.App(app); err != nil {
							continue // it is lost
						}
						err := s.CheckPosition(app, []string{"t"}, cursor)
						if told != errors.Is(err, picloud.ErrPositionForeign) || !told && err != nil {
							t.Errorf("the cursor of %s: %v", app, err)
						}
					}
					if n := s.RecordsAfter(0); n > 10_000 && round == 0 {
						t.Errorf("%d records are waited for by a reader that has none", n)
					}
					old := g.cursors["default"]
					g.publish(t, s, "default", 5)
					g.publish(t, s, "late", 3)
					if !told {
						page, err := s.Events(t.Context(), picloud.HistoryQuery{App: "default", Topics: []string{"t"}, After: old.Seq})
						if err != nil || len(page.Events) != 5 {
							t.Errorf("behind the cursor are %d events, %v, want 5", len(page.Events), err)
						}
					}
				}
			})
		}
	}
}

// DM-1: a node that was stopped in good order goes on with the next position.
func TestPositionsGoOnAfterAStop(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir()}
	s := start(t, cfg)
	lsn := uint64(0)
	for n := range uint64(3) {
		if e := publish(t, s, "default", "t", "1")[0]; e.Seq != n+1 || s.LastLSN() > lsn+4 {
			t.Errorf("sequence %d, want %d; LSN %d after %d", e.Seq, n+1, s.LastLSN(), lsn)
		}
		lsn = s.LastLSN()
		s.stop(t)
		s = start(t, cfg)
	}
}
