package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/pgsync/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// A toy is all that something durable needs: its number, its row, its kind, a line
// in the list of kinds, and what commands and readers want of it.
const tableToy table = maxTables - 1 // app, zero byte, name

type toy struct{ App, Name, Color string }

var toyKind = rowKind{
	name: "toys", data: true,
	happened: func(ch change, by cause) (matched, bool, error) {
		if ch.value == nil {
			return matched{}, false, nil
		}
		t, err := decodeAs[toy](ch.value)
		what := picloud.Happening{Kind: picloud.TriggerKV, At: fromMicros(by.at), Name: t.Name, Data: []byte(`"` + t.Color + `"`)}
		return matched{app: t.App, by: t.Name, lsn: by.lsn, what: what}, err == nil, err
	},
	copied: copies[toy]{
		as: "toy", check: func(t *toy) error { return check.Handle("toy", t.Name) },
		to: func(_ *restorer, t toy) ([]change, error) { return putOf(tableToy, pair(t.App, t.Name), t), nil },
	},
}

var _ = func() bool { kinds[tableToy] = &toyKind; return true }()

func (s *Store) setToy(ctx context.Context, t toy) (toy, error) {
	if err := check.Handle("toy", t.Name); err != nil {
		return toy{}, err
	}
	return ask(ctx, s, t.App, recordCost+len(t.Color), func(tx *tx) (toy, error) {
		_, err := tx.catalog.app(t.App)
		if err == nil {
			tx.put(tableToy, pair(t.App, t.Name), t)
		}
		return t, err
	})
}

func (s *Store) toy(app, name string) toy {
	b := s.tables.get(tableToy, []byte(pair(app, name)))
	if b == nil {
		return toy{}
	}
	t, _ := decodeAs[toy](b)
	return t
}

// Something durable is one file and one line: a toy that the engine has never
// heard of goes through commit, trigger, replay, checkpoint, backup, restore, the
// copy in Postgres and the way back from it, and goes with its app.
func TestToyGoesEveryWay(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s, stop := open(t, filepath.Join(t.TempDir(), "node"))
	bell := prepareToys(t, s)
	red := toy{App: "shop", Name: "car", Color: "red"}
	if _, err := s.setToy(t.Context(), red); err != nil || s.toy("shop", "car") != red {
		t.Fatalf("the toy is %+v, %v", s.toy("shop", "car"), err)
	}
	has := func(s *Store, after string) {
		t.Helper()
		deliveries, err := s.Deliveries(bell, 0, 10)
		if s.toy("shop", "car") != red || err != nil || len(deliveries) != 1 {
			t.Fatalf("after %s the toy is %+v, its deliveries %+v, %v", after, s.toy("shop", "car"), deliveries, err)
		}
		if d, ok, err := s.DeliveryAt(bell, deliveries[0].LSN); !ok || err != nil || string(d.What.Data) != `"red"` {
			t.Errorf("after %s the delivery is %+v, %t, %v", after, d, ok, err)
		}
	}
	has(s, "commit")

	killed, err := "", fs.ErrNotExist    // as a killed process leaves its files
	for errors.Is(err, fs.ErrNotExist) { // one was in the making
		killed = filepath.Join(t.TempDir(), "killed")
		err = os.CopyFS(killed, os.DirFS(s.cfg.Dir))
	}
	if err != nil {
		t.Fatal(err)
	}
	replayed, _ := open(t, killed)
	has(replayed, "replay")

	var archive bytes.Buffer
	if err := s.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	copyToPostgres(t, s, url)
	stop()
	checkpointed, _ := open(t, s.cfg.Dir)
	has(checkpointed, "checkpoint")

	unpacked := filepath.Join(t.TempDir(), "unpacked")
	if _, err := Restore(Config{Dir: unpacked}, Archived{From: &archive}); err != nil {
		t.Fatal(err)
	}
	restored, _ := open(t, unpacked)
	has(restored, "backup and restore")

	rebuilt, _ := open(t, rebuildFromPostgres(t, url, s.Node().ID, s.RecoveryKey()))
	if got := rebuilt.toy("shop", "car"); got != red {
		t.Errorf("after Postgres the toy is %+v", got)
	}
	if err := rebuilt.DeleteApp(t.Context(), "shop"); err != nil || rebuilt.toy("shop", "car") != (toy{}) {
		t.Errorf("after its app the toy is %+v, %v", rebuilt.toy("shop", "car"), err)
	}
}

// What comes from elsewhere passes the check that a request passes.
func TestToyFromElsewhereIsChecked(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]any{"a name that no request could give": toy{App: "shop", Name: "../car"}, "no toy": 7} {
		if rows, err := toyKind.copied.restore(&restorer{}, bad); err == nil {
			t.Errorf("%s was restored as %q", name, rows)
		}
	}
}

func prepareToys(t *testing.T, s *Store) picloud.Trigger {
	t.Helper()
	if _, err := s.CreateApp(t.Context(), picloud.App{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SaveScript(t.Context(), picloud.Script{App: "shop", Name: "door", Source: "export default () => 1"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	bell, err := s.SaveTrigger(t.Context(), picloud.Trigger{App: "shop", Name: "bell", Kind: picloud.TriggerKV, Script: "door", Prefix: "car", Enabled: true})
	if err != nil {
		t.Fatal(err)
	}
	return bell
}

// open opens a store whose committer runs until stop, or the end of the test.
func open(t *testing.T, dir string) (s *Store, stop func()) {
	t.Helper()
	return openAs(t, Config{Dir: dir, NodeName: "pi", ReserveBytes: -1, SegmentSize: 512 << 10, Readers: []string{picloud.Central}})
}

func openAs(t *testing.T, cfg Config) (s *Store, stop func()) {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = func() {
		if cancel == nil {
			return
		}
		cancel()
		cancel = nil
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

// copyToPostgres returns when all that is committed has been copied.
func copyToPostgres(t *testing.T, s *Store, url string) {
	t.Helper()
	lane := dispatch.New(dispatch.Config{
		Name: picloud.Central, Journal: s,
		Consumer: pgsync.New(pgsync.Config{URL: func() (string, error) { return url, nil }, Local: s, Place: s.cfg.Dir, Version: "test", Migrate: true}),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- lane.Run(ctx) }()
	tick := time.NewTicker(5 * time.Millisecond) // the lane has no signal for this
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for st := lane.Status(); st.State != dispatch.StateIdle || st.Waiting != 0; st = lane.Status() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never copied: %+v", st)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// rebuildFromPostgres returns the directory of the node as the copy has it.
func rebuildFromPostgres(t *testing.T, url, id string, key []byte) string {
	t.Helper()
	src, err := pgsync.OpenSource(t.Context(), pgsync.Config{URL: func() (string, error) { return url, nil }}, id, key, picloud.Retention{MaxEvents: 10, MaxAge: time.Hour, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close(t.Context())
	dir := filepath.Join(t.TempDir(), "rebuilt")
	_, err = Rebuild(t.Context(), Config{Dir: dir, ReserveBytes: -1, SegmentSize: 512 << 10, Readers: []string{picloud.Central}}, Rebuilt{
		ID: src.ID, Incarnation: src.Incarnation, RecoveryKey: key,
		Fill:     func(put func(picloud.Record) error) error { return src.Records(t.Context(), put) },
		HandOver: func(node picloud.Node, last uint64) error { return src.HandOver(t.Context(), node, last) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
