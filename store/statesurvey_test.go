package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// DM-3: a damaged state.db is given up for the journal only when that has every record of
// the checkpoint. When records are damaged, or it was begun in the place of one that was
// lost, what is legible stays: what apps keep, and the apps, when the journal has not all
// of those.
func TestLegibleRowsStayWhenTheJournalHasThemNot(t *testing.T) {
	t.Parallel()
	good, segments, _ := longJournal(t)
	s := start(t, good)
	if _, err := s.CreateApp(t.Context(), picloud.App{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "shop", Key: fmt.Sprintf("k%03d", i), Value: []byte(fmt.Sprintf(`{"value":%d}`, i))}); err != nil {
			t.Fatal(err)
		}
	}
	s.stop(t)
	newest := filepath.Base(newestSegment(t, good.Dir))
	inRecords := func(name string, from int) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			reshape(t, filepath.Join(dir, "journal", name), func(b []byte) []byte { clear(b[from : len(b)-4096]); return b })
		}
	}
	for journal, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		lost   int // entries that may be, of 100
	}{
		"whole": {func(*testing.T, string) {}, 0},
		"a record": {func(t *testing.T, dir string) {
			t.Helper()
			flipInRecords(t, filepath.Join(dir, "journal", segments[0]))
		}, 1},
		"the first file":            {inRecords(segments[0], 4096), 1},
		"the newest file":           {inRecords(newest, 4096), 1},
		"a file is missing":         {func(t *testing.T, dir string) { t.Helper(); removeSegment(t, dir, segments[2]) }, 1},
		"begun in place of another": {replaceJournal, 1},
	} {
		for state, spoil := range map[string]func(b []byte) []byte{
			"row":       func(b []byte) []byte { b[bytes.Index(b, []byte(`{"value":77}`))+9] = '8'; return b },
			"meta page": func(b []byte) []byte { clear(b[:4096]); return b },
			"both":      func(b []byte) []byte { clear(b[:8192]); return b },
			"header of a page": func(b []byte) []byte {
				at := bytes.Index(b, []byte(`{"value":77}`)) &^ 4095
				b[at+10] = 0xff // how many rows it has
				return b
			},
		} {
			t.Run(fmt.Sprintf("%s, %s", state, journal), func(t *testing.T) {
				t.Parallel()
				cfg := good
				cfg.Dir = copyDir(t, good.Dir)
				c.damage(t, cfg.Dir)
				reshape(t, filepath.Join(cfg.Dir, "state.db"), spoil)
				for range 2 {
					s := start(t, cfg)
					page, err := s.Entries(picloud.EntryList{App: "shop", Limit: 1000})
					allowed := c.lost
					if state == "both" && allowed > 0 { // no page can be found
						allowed = 100
					}
					if state == "header of a page" && allowed > 0 {
						allowed = 60 // those of the page
					}
					if (err != nil && allowed < 100) || len(page.Entries) < 100-allowed {
						t.Errorf("%d of 100 entries are there, %v: %s", len(page.Entries), err, s.Health().Notes)
					}
					lost := regexp.MustCompile(`Records .* are lost|what apps kept before .* is lost|could be read: .* is lost|damaged and is lost`)
					if told := fmt.Sprint(s.Health().Notes); len(page.Entries) < 100 && !lost.MatchString(told) {
						t.Errorf("the loss of %d entries is not told: %s", 100-len(page.Entries), told)
					}
					if slices.ContainsFunc(page.Entries, func(e picloud.Entry) bool { return string(e.Value) == `{"value":87}` && e.Key == "k077" }) {
						t.Error("a damaged row is served")
					}
					s.stop(t)
				}
			})
		}
	}
}

func removeSegment(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "journal", name)); err != nil {
		t.Fatal(err)
	}
}

// replaceJournal makes the node of a directory go on without its journal, and stops it.
func replaceJournal(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, "journal")); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(store.Config{Dir: dir, SegmentSize: 64 << 10, ReserveBytes: -1})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
}
