package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal/journaltest"
	"github.com/picloud/picloud/store"
)

func overwrite(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Repeat("?", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// flip flips a bit of a text in a file.
func flip(t *testing.T, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(text))
	if at < 0 {
		t.Fatalf("%s has no %q", path, text)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func removeAll(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// open lists the incidents that were not acknowledged.
func (r *running) open() (ids []string) {
	for _, in := range r.Incidents() {
		if in.AcknowledgedAt.IsZero() {
			ids = append(ids, in.ID)
		}
	}
	return ids
}

// DM-5: a loss is told, by an event, too, over restarts, until it is acknowledged; then no
// more.
func TestLossIsToldUntilAcknowledged(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, dir string){
		"state.db":    func(t *testing.T, dir string) { t.Helper(); overwrite(t, filepath.Join(dir, "state.db")) },
		"node.json":   func(t *testing.T, dir string) { t.Helper(); overwrite(t, filepath.Join(dir, "node.json")) },
		"the journal": func(t *testing.T, dir string) { t.Helper(); removeAll(t, filepath.Join(dir, "journal")) },
		"both of them": func(t *testing.T, dir string) {
			t.Helper()
			removeAll(t, filepath.Join(dir, "journal"))
			overwrite(t, filepath.Join(dir, "state.db"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := store.Config{Dir: t.TempDir()}
			s := start(t, cfg)
			publish(t, s, "default", "t", `1`, `2`)
			s.stop(t)
			if len(s.Incidents()) != 0 {
				t.Fatalf("a new node has incidents: %v", s.Incidents())
			}
			damage(t, cfg.Dir)
			var ids []string
			for i := range 3 {
				s = start(t, cfg)
				if now := s.open(); len(now) == 0 || i > 0 && fmt.Sprint(now) != fmt.Sprint(ids) {
					t.Fatalf("start %d tells %v, the one before %v", i, now, ids)
				}
				ids = s.open()
				if h := s.Health(); !h.Degraded || len(h.Notes) < len(ids) {
					t.Errorf("start %d: health %+v", i, h)
				}
				if got := history(t, s, "default", picloud.TopicNodeDamage); len(got) != len(ids) || !strings.Contains(fmt.Sprint(got), ids[0]) {
					t.Errorf("start %d: events %v of %v", i, got, ids)
				}
				s.stop(t)
			}
			s = start(t, cfg)
			if _, err := s.AckIncidents(t.Context(), "none"); !errors.Is(err, picloud.ErrIncidentNotFound) {
				t.Errorf("an unknown one: %v", err)
			}
			if n, err := s.AckIncidents(t.Context()); n != len(ids) || err != nil {
				t.Errorf("%d acknowledged, %v", n, err)
			}
			for i := range 2 {
				if h := s.Health(); h.Degraded || len(s.open()) != 0 || len(s.Incidents()) != len(ids) {
					t.Errorf("acknowledged, start %d: %+v, %v", i, h, s.Incidents())
				}
				s.stop(t)
				s = start(t, cfg)
			}
		})
	}
}

// DM-5: what is found while the node runs is kept, too, once, however often it is met.
func TestDamageThatIsMetIsTold(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir(), SegmentSize: 64 << 10}
	s := start(t, cfg)
	for i := range 40 {
		publish(t, s, "default", "t", fmt.Sprintf(`"event-%02d%s"`, i, strings.Repeat("x", 4000)))
	}
	s.stop(t)
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "journal", "*.log"))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	flip(t, files[0], "event-02")
	s = start(t, cfg)
	for range 3 {
		if got := history(t, s, "default", "t"); len(got) != 39 {
			t.Errorf("%d events are left", len(got))
		}
	}
	met := s.open()
	if len(met) != 1 {
		t.Fatalf("incidents %v", s.Incidents())
	}
	s.stop(t)
	s = start(t, cfg)
	if now := s.open(); fmt.Sprint(now) != fmt.Sprint(met) {
		t.Errorf("after a restart %v, before %v", now, met)
	}
}

// DM-5: the list is bounded. Acknowledged incidents make room, others do not.
func TestIncidentsAreBounded(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir()}
	s := start(t, cfg)
	note := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			s.Incident(fmt.Sprint("loss ", i))
		}
		publish(t, s, "default", "t", `1`) // after what was noted
	}
	note(0, 100)
	note(100, 150) // there is no room for them
	for range 5 {
		publish(t, s, "default", "t", `1`)
	}
	if got := history(t, s, "default", picloud.TopicNodeDamage); len(got) != 100 {
		t.Errorf("%d events tell of 100 incidents", len(got))
	}
	first := s.open()
	if len(first) != 100 {
		t.Fatalf("%d are kept", len(first))
	}
	if _, err := s.AckIncidents(t.Context(), first[:30]...); err != nil {
		t.Fatal(err)
	}
	note(200, 260)
	s.stop(t)
	s = start(t, cfg)
	if all, open := s.Incidents(), s.open(); len(all) != 100 || len(open) != 100 {
		t.Errorf("%d are kept, %d of them open", len(all), len(open))
	}
}

// DM-5: a loss that a start has found is told by the next one, wherever the first was cut
// off.
func TestLossIsToldThoughTheStartThatFoundItWasCutOff(t *testing.T) {
	t.Parallel()
	disk := journaltest.New()
	cfg := store.Config{Dir: t.TempDir(), JournalFS: disk, SegmentSize: 64 << 10, ReserveBytes: -1}
	s := start(t, cfg)
	for i := range 40 {
		publish(t, s, "default", "t", fmt.Sprintf(`"event-%02d%s"`, i, strings.Repeat("x", 1000)))
	}
	epoch, template := s.Node().Epoch, copyDir(t, cfg.Dir)
	disk = disk.Clone() // as a killed process leaves it
	s.stop(t)
	spoilt := false
	files, err := disk.List(filepath.Join(cfg.Dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		name = filepath.Join(cfg.Dir, "journal", name)
		if at := bytes.Index(disk.ReadFile(name), []byte("event-07")); at >= 0 {
			disk.Flip(name, int64(at), 0)
			spoilt = true
		}
	}
	if !spoilt {
		t.Fatal("no file has the event")
	}
	for n := int64(1); ; n++ {
		fs := disk.Clone()
		cfg := cfg
		cfg.JournalFS = fs
		if err := errors.Join(os.RemoveAll(cfg.Dir), os.CopyFS(cfg.Dir, os.DirFS(template))); err != nil {
			t.Fatal(err)
		}
		var count atomic.Int64
		fs.SetFault(func(string, string) error {
			if count.Add(1) >= n {
				return syscall.EIO
			}
			return nil
		})
		if cut, err := store.Open(cfg); err == nil {
			_ = cut.Close() // the disk is gone
		}
		done := count.Load() < n
		fs.SetFault(nil)
		s := start(t, cfg)
		if len(s.open()) == 0 || s.Node().Epoch == epoch {
			t.Errorf("cut off at operation %d: incidents %v, another epoch: %t", n, s.Incidents(), s.Node().Epoch != epoch)
		}
		s.stop(t)
		if done {
			return
		}
	}
}
