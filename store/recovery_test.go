package store_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// copyDir copies the files of a data directory as they are now, which is what a
// killed process leaves.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || strings.HasSuffix(path, ".tmp") {
			return nil // a file in the making
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		if !d.Type().IsRegular() {
			return nil // what a test has put there
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// OP-7: a killed node has everything it answered, without a checkpoint.
func TestKilledNodeHasWhatItAnswered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	if _, err := s.CreateApp(t.Context(), picloud.App{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "shop", Name: "sales", External: true}); err != nil {
		t.Fatal(err)
	}
	key, err := s.EnsureSigningKey(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		publish(t, s, "shop", "sales", fmt.Sprint(i))
	}
	want := history(t, s, "shop", "sales")
	killed := start(t, store.Config{Dir: copyDir(t, dir)})
	if got := history(t, killed, "shop", "sales"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("history %v, want %v", got, want)
	}
	if got := killed.SigningKeys("shop"); len(got) != 1 || got[0] != key {
		t.Errorf("signing keys %v, want %v", got, key)
	}
	topic, err := killed.Topic("shop", "sales")
	if err != nil || !topic.External || topic.AuthMode != picloud.AuthToken {
		t.Errorf("topic %+v, %v", topic, err)
	}
	if killed.Node().Epoch != s.Node().Epoch {
		t.Error("a kill without loss began a new epoch")
	}
}

// OP-7: state.db missing, zeroed, truncated or another node's: the catalog and
// the history come back from the journal.
func TestStateFileIsRebuiltFromTheJournal(t *testing.T) {
	t.Parallel()
	other := t.TempDir()
	o := start(t, store.Config{Dir: other})
	publish(t, o, "default", "x", `1`)
	o.stop(t)
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "t"}); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		publish(t, s, "default", "t", fmt.Sprint(i))
	}
	want := history(t, s, "default", "t")
	s.stop(t)

	faults := map[string]func(t *testing.T, path string) error{
		"missing": func(_ *testing.T, path string) error { return os.Remove(path) },
		"empty":   func(_ *testing.T, path string) error { return os.Truncate(path, 0) },
		"zeroed": func(_ *testing.T, path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, make([]byte, info.Size()), 0o600)
		},
		"truncated": func(_ *testing.T, path string) error { return os.Truncate(path, 9000) },
		"garbage": func(_ *testing.T, path string) error {
			return os.WriteFile(path, bytes.Repeat([]byte("no database "), 4000), 0o600)
		},
		"directory": func(_ *testing.T, path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"pipe":      func(_ *testing.T, path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) },
		"of another node": func(t *testing.T, path string) error {
			t.Helper()
			b, err := os.ReadFile(filepath.Join(other, "state.db"))
			if err != nil {
				return err
			}
			return os.WriteFile(path, b, 0o600)
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := copyDir(t, dir)
			if err := fault(t, filepath.Join(d, "state.db")); err != nil {
				t.Fatal(err)
			}
			r := start(t, store.Config{Dir: d})
			if got := history(t, r, "default", "t"); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("history %v, want %v", got, want)
			}
			if _, err := r.Topic("default", "t"); err != nil {
				t.Error(err)
			}
			if r.Node().Epoch != s.Node().Epoch || r.Node().ID != s.Node().ID {
				t.Errorf("node %+v, want %+v: nothing was lost", r.Node(), s.Node())
			}
			if e := publish(t, r, "default", "t", `9`); int(e[0].Seq) != 51+len(r.Incidents()) { // each has an event
				t.Errorf("sequence %d, want 51 and %d incidents", e[0].Seq, len(r.Incidents()))
			}
			if h := r.Health(); name != "missing" && !h.Degraded && name != "empty" {
				t.Errorf("health %+v, want it degraded", h)
			}
		})
	}
}

// OP-7: without its journal a node keeps its catalog, says what is lost, and
// begins another epoch so that nobody mistakes the new history for the old.
func TestLostJournalBeginsAnotherEpoch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	old := publish(t, s, "default", "t", `1`, `2`)
	if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "t"}); err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	if err := os.RemoveAll(filepath.Join(dir, "journal")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing new is lost
		s = start(t, store.Config{Dir: dir})
		if _, err := s.Topic("default", "t"); err != nil {
			t.Error(err)
		}
		if err := s.CheckPosition("default", []string{"t"}, old[1].Position); !errors.Is(err, picloud.ErrPositionForeign) {
			t.Errorf("old position: %v, want foreign", err)
		}
		s.stop(t)
	}
	epoch := s.Node().Epoch
	s = start(t, store.Config{Dir: dir})
	if s.Node().Epoch != epoch {
		t.Error("another epoch began without another loss")
	}
	if e := publish(t, s, "default", "t", `3`); e[0].Seq <= old[1].Seq {
		t.Errorf("sequence %d was used before", e[0].Seq)
	}
}

// OP-7: damage in the middle of the journal costs what it hits, is told, and
// the rest is served.
func TestDamageInTheMiddleIsToldAndTheRestServed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	for i := range 20 {
		publish(t, s, "default", "t", fmt.Sprintf(`"event-%02d"`, i))
	}
	d := copyDir(t, dir)
	files, err := filepath.Glob(filepath.Join(d, "journal", "*.log"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.Index(b, []byte("event-07"))] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, store.Config{Dir: d})
	got := history(t, r, "default", "t")
	if len(got) != 19 {
		t.Errorf("%d events survive, want 19: %v", len(got), got)
	}
	if h := r.Health(); !h.Degraded || len(h.Notes) == 0 {
		t.Errorf("health %+v, want a note", h)
	}
	if r.Node().Epoch == s.Node().Epoch {
		t.Error("a loss did not begin another epoch")
	}
	kept, err := filepath.Glob(filepath.Join(d, "damaged", "*"))
	if err != nil || len(kept) != 1 {
		t.Errorf("set aside: %v, %v", kept, err)
	}
}

// PB-9: after an unclean stop the sequence of an app with telemetry jumps, every
// time, so that an announced position is never used again.
func TestTelemetryPositionIsNeverReused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	_, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "m", Durability: picloud.DurabilityTelemetry})
	if err != nil {
		t.Fatal(err)
	}
	before := copyDir(t, dir) // what a power cut before the next fsync leaves
	announced := publish(t, s, "default", "m", `1`, `2`, `3`)
	if announced[0].Durability != picloud.DurabilityPending {
		t.Errorf("durability %s", announced[0].Durability)
	}
	top := announced[2].Seq
	for range 3 {
		r := start(t, store.Config{Dir: before})
		e := publish(t, r, "default", "m", `4`)
		if e[0].Seq <= top {
			t.Fatalf("sequence %d was announced before (newest %d)", e[0].Seq, top)
		}
		top = e[0].Seq
		next := copyDir(t, before)
		r.stop(t)
		before = next
	}
}

// PB-9: telemetry reaches the card within a second without company.
func TestTelemetryIsSyncedInTime(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir(), SyncWithin: 20 * time.Millisecond})
	_, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "m", Durability: picloud.DurabilityTelemetry})
	if err != nil {
		t.Fatal(err)
	}
	e := publish(t, s, "default", "m", `1`)
	deadline := time.Now().Add(10 * time.Second)
	for {
		got, err := s.Event(t.Context(), "default", e[0].Position)
		if err != nil {
			t.Fatal(err)
		}
		if got.Durability == picloud.DurabilityLocal {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("still pending")
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // polls for a change that has no signal
	}
}

// A second process on the same directory is refused with what to do.
func TestDirectoryIsLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, store.Config{Dir: dir})
	_, err := store.Open(store.Config{Dir: dir})
	var locked *store.LockedError
	if !errors.As(err, &locked) || locked.Dir != dir {
		t.Errorf("second open: %v", err)
	}
}

// OP-6: a backup taken under load restores to a prefix of what was published
// that holds everything answered before it began.
func TestBackupUnderLoadRestores(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir(), SegmentSize: 256 << 10, CheckpointBytes: 100 << 10})
	if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "t"}); err != nil {
		t.Fatal(err)
	}
	pad := bytes.Repeat([]byte("x"), 2000)
	for i := range 300 {
		publish(t, s, "default", "t", fmt.Sprintf(`"%d %s"`, i, pad))
	}
	stop := make(chan struct{})
	done := make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				done <- n
				return
			default:
				_, err := s.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "t", Data: []byte(`"` + string(pad) + `"`)}}})
				if err != nil {
					t.Error(err)
				}
				n++
			}
		}
	}()
	var archive bytes.Buffer
	if err := s.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	close(stop)
	t.Logf("%d events meanwhile, archive of %d bytes", <-done, archive.Len())
	want := history(t, s, "default", "t")

	dir := filepath.Join(t.TempDir(), "new")
	node, err := store.Restore(store.Config{Dir: dir}, store.Archived{From: bytes.NewReader(archive.Bytes())})
	if err != nil {
		t.Fatal(err)
	}
	if node.ID != s.Node().ID || node.Epoch == s.Node().Epoch || node.Incarnation != s.Node().Incarnation+1 {
		t.Errorf("restored node %+v of %+v", node, s.Node())
	}
	r := start(t, store.Config{Dir: dir})
	got := history(t, r, "default", "t")
	if len(got) < 300 || fmt.Sprint(got) != fmt.Sprint(want[:len(got)]) {
		t.Errorf("restored %d events, want the first of %d", len(got), len(want))
	}
	if h := r.Health(); h.Degraded {
		t.Errorf("health %+v", h)
	}
	if _, err := store.Restore(store.Config{Dir: dir}, store.Archived{From: bytes.NewReader(archive.Bytes())}); err == nil {
		t.Error("restored over a node")
	}
}

// OP-6: no archive that lacks or changes a byte is accepted, and none leaves
// anything behind.
func TestDamagedBackupIsRefusedWhole(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	publish(t, s, "default", "t", `1`)
	var archive bytes.Buffer
	if err := s.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	good := archive.Bytes()
	check := func(name string, b []byte) {
		dir := t.TempDir()
		if _, err := store.Restore(store.Config{Dir: dir}, store.Archived{From: bytes.NewReader(b)}); err == nil {
			t.Errorf("%s: accepted", name)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "lock" {
				t.Errorf("%s: left %s behind", name, e.Name())
			}
		}
	}
	step := max(1, len(good)/60)
	for i := 0; i < len(good)-9; i += step { // the last bytes are padding of gzip's trailer
		check(fmt.Sprintf("cut at %d", i), good[:i])
	}
	for i := 10; i < len(good); i += step {
		b := bytes.Clone(good)
		b[i] ^= 0x10
		if bytes.Equal(gunzip(b), gunzip(good)) {
			continue // a bit that means nothing to gzip
		}
		check(fmt.Sprintf("flipped at %d", i), b)
	}
}

// gunzip returns nil for what is not a whole gzip file.
func gunzip(b []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	out, err := io.ReadAll(r)
	if err != nil {
		return nil
	}
	return out
}

func removeState(dir string) error { return os.Remove(filepath.Join(dir, "state.db")) }

// OP-7: with nothing in its newest file and a damaged one before it, the journal
// is worth what it has, and the node starts.
func TestNewestFileEmptyAndDamageBeforeIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := store.Config{Dir: dir, SegmentSize: 64 << 10}
	s := start(t, cfg)
	for range 40 {
		publish(t, s, "default", "t", `"`+strings.Repeat("x", 4000)+`"`)
	}
	node := s.Node()
	s.stop(t)
	files, err := filepath.Glob(filepath.Join(dir, "journal", "*.log"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	change := func(name string, fn func(b []byte)) {
		t.Helper()
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fn(b)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	change(files[len(files)-1], func(b []byte) { clear(b[4096:]) })
	change(files[len(files)-2], func(b []byte) { b[20_000] ^= 1 })
	s = start(t, cfg)
	if !s.Health().Degraded || s.Node().Epoch == node.Epoch {
		t.Errorf("health %+v, epoch %v as before", s.Health(), s.Node().Epoch)
	}
	if e := publish(t, s, "default", "t", `1`)[0]; e.Seq <= 40 {
		t.Errorf("position %d is used twice", e.Seq)
	}
}
