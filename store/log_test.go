package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// readLog returns all there is after an LSN, a line for each record.
func readLog(t *testing.T, s *running, after uint64) (lines []string, passed uint64) {
	t.Helper()
	r, err := s.OpenLog(after)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines, r.Passed()
		}
		if err != nil {
			t.Fatal(err)
		}
		switch c := rec.Change; {
		case rec.Event != nil:
			lines = append(lines, fmt.Sprintf("%s/%s %s", rec.Event.App, rec.Event.Topic, rec.Event.Data))
		case c.Value == nil:
			lines = append(lines, fmt.Sprintf("-%s %s/%s", c.Kind, c.App, c.Name))
		default:
			lines = append(lines, fmt.Sprintf("+%s %s/%s", c.Kind, c.App, c.Name))
		}
	}
}

// PG-1: whoever reads the journal meets everything durable, in order, and
// nothing that concerns the node alone.
func TestLogTellsEverythingInOrder(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir(), Readers: []string{"reader"}})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.CreateApp(t.Context(), picloud.App{Name: "shop"})
	must(err)
	_, err = s.CreateTopic(t.Context(), picloud.Topic{App: "shop", Name: "till"})
	must(err)
	publish(t, s, "shop", "till", "1", "2")
	s.MoveCursor("reader", 2)
	must(s.SetNote(t.Context(), "n", []byte("x")))
	_, err = s.CreateAPIKey(t.Context(), picloud.APIKey{ID: "k1", App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppRead}})
	must(err)
	_, err = s.EnsureSigningKey(t.Context(), "shop")
	must(err)
	must(s.RevokeAPIKey(t.Context(), "k1"))
	must(s.DeleteTopic(t.Context(), "shop", "till"))

	lines, passed := readLog(t, s, 0)
	for i, l := range lines {
		if strings.Contains(l, "signing-key") {
			lines[i] = "+signing-key"
		}
	}
	want := []string{
		"+app default/default", "+app shop/shop", "+topic shop/till", "shop/till 1", "shop/till 2",
		"+api-key /k1", "+signing-key", "-api-key /k1", "-topic shop/till",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("the log tells\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if passed != s.LastLSN() {
		t.Errorf("passed %d, the newest record is %d", passed, s.LastLSN())
	}
	if rest, _ := readLog(t, s, passed); rest != nil {
		t.Errorf("after the end comes %v", rest)
	}
}

// PB-6: an event tells that it is in Postgres, and since when, across restarts.
func TestEventTellsWhenItWasCentral(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), newClock()
	cfg := store.Config{Dir: dir, Readers: []string{picloud.Central}, Now: now.Now}
	s := start(t, cfg)
	e := publish(t, s, "default", "a", "1")[0]
	durability := func() (picloud.Durability, time.Time) {
		t.Helper()
		got, err := s.Event(t.Context(), "default", e.Position)
		if err != nil {
			t.Fatal(err)
		}
		return got.Durability, got.CentralAt
	}
	if d, at := durability(); d != picloud.DurabilityLocal || !at.IsZero() {
		t.Fatalf("before the copy: %s at %v", d, at)
	}
	now.move(time.Minute)
	reached := now.Now()
	s.MoveCursor(picloud.Central, s.LastLSN())
	publish(t, s, "default", "a", "2")
	now.move(time.Minute)
	s.MoveCursor(picloud.Central, s.LastLSN())
	if d, at := durability(); d != picloud.DurabilityCentral || !at.Equal(reached) {
		t.Errorf("%s at %v, want central at %v", d, at, reached)
	}
	s.stop(t)
	s = start(t, cfg)
	if d, at := durability(); d != picloud.DurabilityCentral || !at.Equal(reached) {
		t.Errorf("after a restart: %s at %v, want central at %v", d, at, reached)
	}
}

// A cursor that is behind keeps what it has not passed, whatever retention and
// budget say; when the budget is used up publishing is refused, and goes on as
// soon as the cursor has moved (TP-5, PG-2).
func TestOwedIsKeptAndThenRefused(t *testing.T) {
	t.Parallel()
	const budget = 1 << 20
	s := start(t, store.Config{
		Dir: t.TempDir(), Readers: []string{"reader"}, SegmentSize: 128 << 10, JournalBytes: budget, CheckpointBytes: 64 << 10,
		Retention: picloud.Retention{MaxEvents: 10}, Now: fastClock(),
	})
	data := `"` + strings.Repeat("x", 4000) + `"`
	published := 0
	var err error
	for ; published < 2000; published++ {
		if _, err = s.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "a", Data: []byte(data)}}}); err != nil {
			break
		}
	}
	if !errors.Is(err, picloud.ErrBacklogFull) {
		t.Fatalf("after %d events of 4 kB: %v, want the backlog to be full", published, err)
	}
	if n := published * 4000; n < budget/2 {
		t.Errorf("refused after %d bytes already", n)
	}
	if size := s.Stats().JournalBytes; size > 2*budget {
		t.Errorf("the journal takes %d bytes, its budget is %d", size, budget)
	}
	if !s.Health().Degraded {
		t.Error("the node does not say that it refuses")
	}
	lines, passed := readLog(t, s, 0)
	if events := len(lines) - 1; events != published {
		t.Errorf("%d events are kept of %d that are owed", events, published)
	}
	if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "b"}); err != nil {
		t.Errorf("an operator cannot work: %v", err)
	}
	s.MoveCursor("reader", passed)
	eventually(t, "publishing goes on", func() bool {
		_, err := s.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "a", Data: []byte("1")}}})
		return err == nil
	})
	if s.Health().Degraded {
		t.Errorf("health %+v", s.Health())
	}
	eventually(t, "what is owed no more is dropped", func() bool {
		_, err := s.OpenLog(0)
		gone, ok := errors.AsType[*picloud.RecordsGoneError](err)
		return ok && gone.First > 1
	})
}

// When the budget is used up, telemetry goes before anything else is refused.
func TestTelemetryIsDroppedBeforePublishingIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{
		Dir: t.TempDir(), Readers: []string{"reader"}, SegmentSize: 128 << 10, JournalBytes: 1 << 20, CheckpointBytes: 64 << 10, Now: fastClock(),
	})
	if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "t", Durability: picloud.DurabilityTelemetry}); err != nil {
		t.Fatal(err)
	}
	data := `"` + strings.Repeat("x", 4000) + `"`
	for range 1000 {
		publish(t, s, "default", "t", data)
	}
	var gone *picloud.RecordsGoneError
	if _, err := s.OpenLog(0); !errors.As(err, &gone) {
		t.Fatalf("the oldest telemetry is still there: %v", err)
	}
	lines, _ := readLog(t, s, gone.First-1)
	if !slices.Contains(lines, "+topic default/t") {
		t.Error("what is left of the journal does not repeat the catalog")
	}
}

// A history that forked says up to where it is the old one.
func TestForksAreRemembered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	publish(t, s, "default", "a", "1", "2", "3")
	first := s.Node().Epoch.String()
	if got := s.SharedUpTo(first, math.MaxUint64); got != ^uint64(0) {
		t.Errorf("with itself it shares up to %d", got)
	}
	var archive bytes.Buffer
	if err := s.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	last := s.LastLSN()
	publish(t, s, "default", "a", "4")
	s.stop(t)
	restored := filepath.Join(t.TempDir(), "restored")
	if _, err := store.Restore(store.Config{Dir: restored}, store.Archived{From: &archive}); err != nil {
		t.Fatal(err)
	}
	s = start(t, store.Config{Dir: restored})
	if got := s.SharedUpTo(first, math.MaxUint64); got != last {
		t.Errorf("a restored node shares up to %d with the node that was backed up, want %d", got, last)
	}
	if got := s.SharedUpTo("00000000aa", math.MaxUint64); got != 0 {
		t.Errorf("it shares up to %d with a stranger", got)
	}
	second := s.Node().Epoch.String()
	s.stop(t)
	if err := os.RemoveAll(filepath.Join(restored, "journal")); err != nil {
		t.Fatal(err)
	}
	s = start(t, store.Config{Dir: restored})
	for _, epoch := range []string{first, second} {
		if got := s.SharedUpTo(epoch, math.MaxUint64); got != 0 {
			t.Errorf("a node without its journal shares up to %d", got)
		}
	}
}

// A lost journal leaves the catalog in state.db alone. It must not take a second
// loss, years later, to find that out.
func TestCatalogSurvivesJournalAndThenState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "kept"}); err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	if err := os.RemoveAll(filepath.Join(dir, "journal")); err != nil {
		t.Fatal(err)
	}
	s = start(t, store.Config{Dir: dir})
	s.stop(t)
	if err := removeState(dir); err != nil {
		t.Fatal(err)
	}
	s = start(t, store.Config{Dir: dir})
	if _, err := s.Topic("default", "kept"); err != nil {
		t.Error(err)
	}
}

// fastClock moves on by half a second whenever somebody looks, so that what
// happens once a second happens without waiting.
func fastClock() func() time.Time {
	c := newClock()
	return func() time.Time {
		c.move(500 * time.Millisecond)
		return c.Now()
	}
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

// Telemetry that shares its segments with other events goes too, before
// publishing is refused: the others stay, readers are told how many are gone,
// and streams that resume learn it (PG-2, TP-5).
func TestTelemetryIsGivenUpAmongOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := store.Config{Dir: dir, Readers: []string{"reader"}, SegmentSize: 128 << 10, JournalBytes: 1 << 20, CheckpointBytes: 64 << 10, Now: fastClock()}
	s := start(t, cfg)
	if _, err := s.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "chatty", Durability: picloud.DurabilityTelemetry}); err != nil {
		t.Fatal(err)
	}
	pad := strings.Repeat("x", 3500)
	var kept []string
	var first picloud.Event
	telemetry := 0
	for i := range 1500 { // about 5 MB of telemetry and 150 kB of others
		if e := publish(t, s, "default", "chatty", fmt.Sprintf(`"%d %s"`, i, pad))[0]; i == 0 {
			first = e
		}
		telemetry++
		if i%10 == 0 {
			publish(t, s, "default", "rare", fmt.Sprintf(`"%d %s"`, i, pad[:900]))
			kept = append(kept, fmt.Sprintf(`default/rare "%d %s"`, i, pad[:900]))
		}
	}
	if size := s.Stats().JournalBytes; size > 3<<19 {
		t.Errorf("the journal takes %d bytes", size)
	}
	publish(t, s, "default", "rare", "0") // with it all before is durable
	kept = append(kept, "default/rare 0")
	check := func() {
		t.Helper()
		r, err := s.OpenLog(0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var got []string
		var there int
		var dropped uint64
		for {
			rec, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case rec.Change != nil && rec.Change.Kind == picloud.ChangeDropped:
				n, _ := rec.Change.Value.(uint64)
				dropped += n
			case rec.Event != nil && rec.Event.Topic == "rare":
				got = append(got, fmt.Sprintf("%s/%s %s", rec.Event.App, rec.Event.Topic, rec.Event.Data))
			case rec.Event != nil:
				there++
			}
		}
		if !slices.Equal(got, kept) {
			t.Errorf("%d of %d events that must not be given up are there", len(got), len(kept))
		}
		if dropped == 0 || int(dropped)+there != telemetry {
			t.Errorf("%d events of telemetry are there and %d told to be dropped, of %d", there, dropped, telemetry)
		}
		if err := s.CheckPosition("default", []string{"chatty"}, first.Position); !errors.Is(err, picloud.ErrPositionGone) {
			t.Errorf("resuming among what was given up: %v", err)
		}
		if h := history(t, s, "default", "rare"); len(h) != len(kept) {
			t.Errorf("%d events of history", len(h))
		}
		if h := history(t, s, "default", "chatty"); len(h) == 0 || len(h) > there {
			t.Errorf("%d events of telemetry in the history, %d are there", len(h), there)
		}
	}
	check()
	last := publish(t, s, "default", "rare", "0")[0]
	kept = append(kept, "default/rare 0")
	s.stop(t)
	if err := removeState(dir); err != nil {
		t.Fatal(err)
	}
	s = start(t, cfg)
	check()
	if s.Health().Degraded && len(s.Health().Notes) != 1 { // that state.db was lost is no note: it was removed
		t.Errorf("health %+v", s.Health())
	}
	if e := publish(t, s, "default", "rare", "1")[0]; e.Seq <= last.Seq || e.Epoch != last.Epoch {
		t.Errorf("after a restart without state.db: %s after %s", e.Position, last.Position)
	}
}

// What a rotten card does not give back holds up nothing that comes after it:
// readers of the journal are told how much is missing, and go on (OP-7).
func TestLogPassesOverDamage(t *testing.T) {
	t.Parallel()
	for _, at := range []int64{5000, 40_000, 70_000} { // in complete files, which a start does not read
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cfg := store.Config{Dir: dir, SegmentSize: 128 << 10, CheckpointBytes: 64 << 10}
			s := start(t, cfg)
			for i := range 500 {
				publish(t, s, "default", "a", fmt.Sprintf(`"%d %s"`, i, strings.Repeat("x", 900)))
			}
			want, end := readLog(t, s, 0)
			s.stop(t)
			files, err := filepath.Glob(filepath.Join(dir, "journal", "0*.log"))
			if err != nil || len(files) < 3 {
				t.Fatal(files, err)
			}
			f, err := os.OpenFile(files[1], os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, 1500), at); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			s = start(t, cfg)
			r, err := s.OpenLog(0)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var events int
			var dropped uint64
			for {
				rec, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if rec.Event != nil && rec.Event.Topic != picloud.TopicNodeDamage {
					events++
				}
				if rec.Change != nil && rec.Change.Kind == picloud.ChangeDropped {
					n, _ := rec.Change.Value.(uint64)
					dropped += n
				}
			}
			if dropped < 1 || dropped > 4 || events+int(dropped) != len(want)-1 || r.Passed() < end {
				t.Errorf("%d events, %d told to be missing, of %d; passed %d of %d", events, dropped, len(want)-1, r.Passed(), end)
			}
			if !s.Health().Degraded {
				t.Error("the node does not say that its card is damaged")
			}
		})
	}
}
