package store_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// testClock is a clock that moves when it is told to.
type testClock struct{ at atomic.Int64 }

func newTestClock() *testClock {
	c := new(testClock)
	c.at.Store(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

func (c *testClock) Now() time.Time       { return time.UnixMicro(c.at.Load()).UTC() }
func (c *testClock) move(d time.Duration) { c.at.Add(d.Microseconds()) }

// KV-1: what a random walk of changes leaves behind is what a map says, in every
// layer rows lie in, after orderly and sudden ends.
func TestEntriesEqualAModel(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(7, 9))
	clock := newTestClock()
	cfg := store.Config{Dir: t.TempDir(), Now: clock.Now, CheckpointBytes: 20_000}
	s := start(t, cfg)
	model := map[string]picloud.Entry{}
	alive := func(k string) (picloud.Entry, bool) {
		e, ok := model[k]
		return e, ok && (e.ExpiresAt.IsZero() || clock.Now().Before(e.ExpiresAt))
	}
	versions := map[string]uint64{}
	for step := range 4000 {
		key := fmt.Sprintf("k/%c/%d", 'a'+rnd.IntN(3), rnd.IntN(40))
		var ttl time.Duration
		if rnd.IntN(3) == 0 {
			ttl = time.Duration(1+rnd.IntN(60)) * time.Second
		}
		clock.move(time.Duration(rnd.IntN(300)) * time.Millisecond)
		was, present := alive(key)
		switch rnd.IntN(10) {
		case 0, 1, 2, 3:
			c := picloud.EntryChange{App: "default", Key: key, Value: []byte(fmt.Sprintf(` [ %d ] `, step)), TTL: ttl}
			switch rnd.IntN(4) {
			case 0:
				c.If.Absent = true
			case 1:
				c.If.Version = was.Version + uint64(rnd.IntN(2))
			}
			want := c.If.Check(map[bool]uint64{true: was.Version}[present])
			e, err := s.SetEntry(t.Context(), c)
			if (want == nil) != (err == nil) {
				t.Fatalf("step %d: set says %v, want %v", step, err, want)
			}
			if err == nil {
				if e.Version <= versions[key] || string(e.Value) != fmt.Sprintf("[%d]", step) {
					t.Fatalf("step %d: set gives %+v after version %d", step, e, versions[key])
				}
				model[key], versions[key] = e, e.Version
			}
		case 4, 5:
			e, err := s.IncrementEntry(t.Context(), picloud.EntryIncrement{App: "default", Key: "n" + key, By: 3, TTL: ttl})
			if err != nil {
				t.Fatal(err)
			}
			n, want := 0, 3
			if old, ok := alive("n" + key); ok {
				_, _ = fmt.Sscan(string(old.Value), &n)
				want = n + 3
				if !e.ExpiresAt.Equal(old.ExpiresAt) {
					t.Fatalf("step %d: increment moved the end", step)
				}
			}
			if string(e.Value) != fmt.Sprint(want) {
				t.Fatalf("step %d: %s, want %d", step, e.Value, want)
			}
			model["n"+key] = e
		case 6:
			err := s.DeleteEntry(t.Context(), picloud.Deletion{App: "default", Name: key})
			if (err == nil) != present || (!present && !errors.Is(err, picloud.ErrKVNotFound)) {
				t.Fatalf("step %d: delete says %v, was there: %v", step, err, present)
			}
			delete(model, key)
		case 7:
			clock.move(time.Duration(rnd.IntN(20)) * time.Second)
		default:
			e, err := s.Entry("default", key)
			if (err == nil) != present || (present && !cmp.Equal(e, was)) {
				t.Fatalf("step %d: get gives %+v %v, want %+v %v", step, e, err, was, present)
			}
		}
		if step%500 == 499 {
			var want []picloud.Entry
			for k := range model {
				if e, ok := alive(k); ok && strings.HasPrefix(k, "k/b/") {
					want = append(want, e)
				}
			}
			slices.SortFunc(want, func(a, b picloud.Entry) int { return strings.Compare(a.Key, b.Key) })
			if diff := cmp.Diff(want, list(t, s, "k/b/", 7)); diff != "" {
				t.Fatalf("step %d: list:\n%s", step, diff)
			}
			if step%1000 == 999 {
				s.stop(t)
			} else { // the plug
				old := s
				cfg.Dir = copyDir(t, cfg.Dir)
				defer old.stop(t)
			}
			s = start(t, cfg)
		}
	}
}

// list reads all pages.
func list(t *testing.T, s *running, prefix string, limit int) []picloud.Entry {
	t.Helper()
	var all []picloud.Entry
	after := ""
	for {
		page, err := s.Entries(picloud.EntryList{App: "default", Prefix: prefix, After: after, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Entries) > limit {
			t.Fatalf("%d entries in a page of %d", len(page.Entries), limit)
		}
		all = append(all, page.Entries...)
		if page.Next == "" {
			return all
		}
		after = page.Next
	}
}

// KV-1: an increment is atomic.
func TestIncrementsAddUp(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := s.IncrementEntry(t.Context(), picloud.EntryIncrement{App: "default", Key: "n", By: 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if e, err := s.Entry("default", "n"); err != nil || string(e.Value) != "400" {
		t.Errorf("%s, %v", e.Value, err)
	}
}

// KV-1: of all who want to change one version of a key, one does.
func TestCompareAndSetHasOneWinner(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	e, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "k", Value: []byte("0")})
	if err != nil {
		t.Fatal(err)
	}
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "k", Value: []byte("1"), If: picloud.Precondition{Version: e.Version}})
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, picloud.ErrPrecondition):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d have won", won.Load())
	}
}

// KV-1: an entry that has come to its end is removed from the disk too, and its
// end is a change that others see; one that was prolonged stays.
func TestEntriesComeToTheirEnd(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	s := start(t, store.Config{Dir: t.TempDir(), Now: clock.Now})
	set := func(key string, ttl time.Duration) {
		t.Helper()
		if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: key, Value: []byte("1"), TTL: ttl}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1200 {
		set(fmt.Sprint("short", i), time.Minute)
	}
	set("prolonged", time.Minute)
	set("prolonged", time.Hour)
	clock.move(2 * time.Minute)
	set("other", 0) // wakes the committer
	gone := 0
	reader, err := s.OpenLog(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	for gone < 1200 {
		r, err := reader.Next()
		if err != nil {
			if err := s.Wait(t.Context(), reader.Passed()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if r.Change != nil && r.Change.Kind == picloud.ChangeKV && r.Change.Value == nil {
			if r.Change.Name == "prolonged" {
				t.Error("the prolonged entry is gone")
			}
			gone++
		}
	}
	if _, err := s.Entry("default", "prolonged"); err != nil {
		t.Error(err)
	}
	if page, err := s.Entries(picloud.EntryList{App: "default"}); err != nil || len(page.Entries) != 2 {
		t.Errorf("%d entries, %v", len(page.Entries), err)
	}
}

// AU-5: an app's keys go with it, and one of the same name begins empty.
func TestEntriesGoWithTheirApp(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	make2 := func() {
		if _, err := s.CreateApp(t.Context(), picloud.App{Name: "shop"}); err != nil {
			t.Fatal(err)
		}
	}
	make2()
	for i := range 3000 {
		if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "shop", Key: fmt.Sprint(i), Value: []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeleteApp(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Entry("shop", "1"); !errors.Is(err, picloud.ErrAppNotFound) {
		t.Error(err)
	}
	make2()
	if page, err := s.Entries(picloud.EntryList{App: "shop"}); err != nil || len(page.Entries) != 0 {
		t.Errorf("%d entries, %v", len(page.Entries), err)
	}
}

// Bad input is refused at the door.
func TestEntriesThatAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	for name, c := range map[string]struct {
		change picloud.EntryChange
		want   *picloud.Error
	}{
		"no key":     {picloud.EntryChange{Value: []byte("1")}, picloud.ErrKVKeyInvalid},
		"long key":   {picloud.EntryChange{Key: strings.Repeat("k", 513), Value: []byte("1")}, picloud.ErrKVKeyInvalid},
		"NUL":        {picloud.EntryChange{Key: "a\x00b", Value: []byte("1")}, picloud.ErrKVKeyInvalid},
		"not JSON":   {picloud.EntryChange{Key: "k", Value: []byte("{")}, picloud.ErrDataInvalid},
		"too large":  {picloud.EntryChange{Key: "k", Value: make([]byte, 1<<20+1), Binary: true}, picloud.ErrKVTooLarge},
		"TTL":        {picloud.EntryChange{Key: "k", Value: []byte("1"), TTL: -1}, picloud.ErrTTLInvalid},
		"absent app": {picloud.EntryChange{App: "nope", Key: "k", Value: []byte("1")}, picloud.ErrAppNotFound},
	} {
		if c.change.App == "" {
			c.change.App = "default"
		}
		if _, err := s.SetEntry(t.Context(), c.change); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, v := range []string{`"x"`, `1.5`, `9007199254740992`, `null`} {
		if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "n", Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.IncrementEntry(t.Context(), picloud.EntryIncrement{App: "default", Key: "n", By: 1}); !errors.Is(err, picloud.ErrKVNotNumber) {
			t.Errorf("incremented %s: %v", v, err)
		}
	}
}

// OP-7: what apps keep is not repeated in the journal, so that losing state.db
// loses what was written before the journal begins. That is told.
func TestLostStateTellsOfLostEntries(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]bool{"with data": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := store.Config{Dir: t.TempDir(), JournalBytes: 1 << 20, CheckpointBytes: 100_000, Retention: picloud.Retention{MaxEvents: 10}}
			s := start(t, cfg)
			if data {
				if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: "k", Value: []byte("1")}); err != nil {
					t.Fatal(err)
				}
			}
			for s.Stats().FirstLSN <= 1 {
				publish(t, s, "default", "t", `"`+strings.Repeat("x", 50_000)+`"`)
			}
			s.stop(t)
			if err := removeState(cfg.Dir); err != nil {
				t.Fatal(err)
			}
			s = start(t, cfg)
			if told := strings.Contains(fmt.Sprint(s.Health().Notes), "what apps kept"); told != data {
				t.Errorf("health: %v", s.Health().Notes)
			}
		})
	}
}

// PG-1: what a reader of the journal was given stays as it was while it reads on.
func TestLoggedEntriesStayAsTheyWere(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	value := func(i int) string { return fmt.Sprintf(`"%d%s"`, i, strings.Repeat("x", 5000)) }
	for i := range 300 {
		if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: fmt.Sprint(i), Value: []byte(value(i))}); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := s.OpenLog(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	var entries []picloud.Entry
	for {
		r, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := r.Change.Value.(picloud.Entry); ok {
			entries = append(entries, e)
		}
	}
	for i, e := range entries {
		if string(e.Value) != value(i) {
			t.Fatalf("entry %d holds %.20s", i, e.Value)
		}
	}
	if len(entries) != 300 {
		t.Errorf("%d entries", len(entries))
	}
}
