package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// OP-7, DM-3: a row of state.db that is damaged costs that row. The others are there, the
// loss is told by app, table and key, and positions begin another history.
func TestDamagedRowIsLostAlone(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ key, told string }{
		"topic":    {"\x02default\x00b", `A row of topics, "b" of app "default",`},
		"sequence": {"\x06default", `A row of sequences, "default",`},
		"cursor":   {"\x09postgres", `A row of cursors, "postgres",`},
		"app":      {"\x01shop", `A row of apps, "shop",`},
		"entry":    {"\x0cdefault\x00k", `A row of key-value pairs, "k" of app "default",`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := store.Config{Dir: t.TempDir(), JournalBytes: 1 << 20, SegmentSize: 256 << 10, CheckpointBytes: 100_000, Retention: picloud.Retention{MaxEvents: 5}}
			s := start(t, cfg)
			if _, err := s.CreateApp(t.Context(), picloud.App{Name: "shop"}); err != nil {
				t.Fatal(err)
			}
			for _, topic := range []string{"a", "b", "c"} {
				if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: topic}); err != nil {
					t.Fatal(err)
				}
			}
			for _, key := range []string{"j", "k"} {
				if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: key, Value: []byte("1")}); err != nil {
					t.Fatal(err)
				}
			}
			s.MoveCursor(picloud.Central, 1)
			for s.Stats().FirstLSN <= 1 { // else all is rebuilt from the journal
				publish(t, s, "default", "a", `"`+strings.Repeat("x", 20_000)+`"`)
			}
			epoch := s.Node().Epoch
			s.stop(t)
			flipRow(t, filepath.Join(cfg.Dir, "state.db"), []byte(row.key))
			for n := range 2 {
				s = start(t, cfg)
				topics, err := s.Topics("default")
				if _, there := s.App("shop"); err != nil || len(topics) < 2 || (name != "app" && there != nil) {
					t.Errorf("topics %+v, %v; app %v", topics, err, there)
				}
				if e, err := s.Entry("default", "j"); err != nil || string(e.Value) != "1" {
					t.Errorf("the other entry is %+v, %v", e, err)
				}
				if e, err := s.Entry("default", "k"); (err == nil) == (name == "entry") {
					t.Errorf("the entry is %+v, %v", e, err)
				}
				if s.Node().Epoch == epoch {
					t.Error("positions go on in the history that has lost something")
				}
				if notes := fmt.Sprint(s.Health().Notes); n == 0 && !strings.Contains(notes, row.told) {
					t.Errorf("told is %s, not %s", notes, row.told)
				}
				publish(t, s, "default", "a", "3")
				s.stop(t)
			}
		})
	}
}

// flipRow flips a bit of a row's value, as a card would.
func flipRow(t *testing.T, name string, key []byte) {
	t.Helper()
	db, err := bbolt.Open(name, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("rows"))
		kept := bytes.Clone(b.Get(key))
		kept[0] ^= 1
		return b.Put(key, kept)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// DM-4: a file that could not be read is not a damaged one. While another program
// holds state.db the start is refused, and nothing is changed.
func TestStateThatIsHeldIsNotDamaged(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir()}
	s := start(t, cfg)
	if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "k", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	held, err := os.Open(filepath.Join(cfg.Dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(cfg); err == nil || !strings.Contains(err.Error(), "another program holds it") {
		t.Errorf("opened with %v", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "damaged")); err == nil {
		t.Error("something was set aside")
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	s = start(t, cfg)
	if e, err := s.Entry("default", "k"); err != nil || string(e.Value) != "1" {
		t.Errorf("%+v, %v", e, err)
	}
}
