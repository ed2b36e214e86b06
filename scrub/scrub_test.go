package scrub

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/store"
)

// kept is a store with so many bytes to be looked at.
type kept struct {
	bytes   int64
	damaged uint64
	err     error

	mu    sync.Mutex
	note  []byte
	told  []string
	looks []time.Duration // how long each took
}

func (k *kept) Verify(ctx context.Context, pace func(v store.Verification) error) (v store.Verification, err error) {
	began := time.Now()
	for v.Bytes < k.bytes {
		v.Bytes += 64 << 10
		if err := pace(v); err != nil {
			return v, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looks = append(k.looks, time.Since(began))
	v.Damaged = k.damaged
	return v, errors.Join(ctx.Err(), k.err)
}

func (k *kept) Note(string) []byte { return k.note }

func (k *kept) SetNote(_ context.Context, _ string, value []byte) error {
	k.note = value
	return nil
}

func (k *kept) TellDifference(text string) { k.told = append(k.told, text) }

func (k *kept) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.looks)
}

func run(t *testing.T, cfg Config) (s *Scrubber, stop func()) {
	t.Helper()
	s = New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return s, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// DM-9: everything is looked at an hour after the first start, then each week, whether or
// not the node is restarted meanwhile; slowly.
func TestEachWeekQuietly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kept{bytes: 100 << 20}
		for day := range 15 { // with a restart each day
			_, stop := run(t, Config{Store: k})
			time.Sleep(24 * time.Hour) //nolint:forbidigo // the clock of the bubble
			stop()
			if want := 1 + day/7; k.count() != want {
				t.Fatalf("on day %d there were %d looks, want %d", day, k.count(), want)
			}
		}
		for _, took := range k.looks {
			if took < 99*time.Second || took > 101*time.Second {
				t.Errorf("100 MiB were read in %v", took)
			}
		}
	})
}

// A busy board is left alone; whoever asks is not made to wait.
func TestBusyBoardsAndOperators(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		busy := true
		k := &kept{bytes: 10 << 20, damaged: 2}
		s, stop := run(t, Config{Store: k, Busy: func() bool { return busy }})
		defer stop()
		time.Sleep(2 * time.Hour) //nolint:forbidigo // the clock of the bubble
		if st := s.Status(); !st.Running || st.Verified.Bytes > 70*64<<10 || k.count() != 0 {
			t.Errorf("on a busy board: %+v", st)
		}
		s.Start()
		synctest.Wait()
		if st := s.Status(); st.Running || st.Verified.Bytes != 10<<20 || st.Verified.Damaged != 2 || st.Ended.IsZero() {
			t.Errorf("asked for while it was going on: %+v", st)
		}
		s.Start()
		if !s.Status().Running {
			t.Error("a look that was asked for is not shown at once")
		}
		synctest.Wait()
		if s.Status().Running || k.count() != 2 || k.looks[1] != 0 {
			t.Errorf("asked for: %+v, %v", s.Status(), k.looks)
		}
	})
}

// A look that fails is told, and tried again; a clock that goes back stops none.
func TestLookThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kept{err: errors.New("no disk")}
		s, stop := run(t, Config{Store: k})
		time.Sleep(150 * time.Minute) //nolint:forbidigo // the clock of the bubble
		stop()
		if st := s.Status(); k.count() != 2 || st.Error != "no disk" || k.note != nil {
			t.Errorf("%d looks, %+v", k.count(), st)
		}
		k = &kept{note: []byte(time.Now().Add(50 * 365 * 24 * time.Hour).UTC().Format(time.RFC3339))}
		_, stop = run(t, Config{Store: k})
		time.Sleep(8 * 24 * time.Hour) //nolint:forbidigo // the clock of the bubble
		stop()
		if k.count() != 1 {
			t.Errorf("after the clock went back: %d looks", k.count())
		}
	})
}

// DM-9: a look ends with a comparison with the copy, whose outcome is told; what only the
// copy has is an incident, and a copy that is away is no fault of the look.
func TestCopyIsHeldAgainstTheNode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		found Comparison
		err   error
		told  string
		not   string
	}{
		"same":    {found: Comparison{Things: 7}},
		"missing": {found: Comparison{Things: 7, Missing: []string{"kv \"a\""}}},
		"lost":    {found: Comparison{Things: 7, Lost: []string{"kv \"a\"", "kv \"b\""}}, told: `has 2 things that this node has not, or has older versions of, such as kv "a"`},
		"away":    {err: errors.New("it is away"), not: "it is away"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k := &kept{bytes: 64 << 10}
				s, stop := run(t, Config{Store: k, Compare: func(context.Context) (Comparison, error) { return c.found, c.err }})
				defer stop()
				s.Start()
				synctest.Wait()
				st := s.Status()
				if st.Running || st.Error != "" || st.NotCompared != c.not || (st.Compared == nil) != (c.err != nil) || st.Compared != nil && st.Compared.Things != 7 {
					t.Errorf("%+v", st)
				}
				if told := strings.Join(k.told, "\n"); !strings.Contains(told, c.told) || (told == "") != (c.told == "") {
					t.Errorf("told %q", told)
				}
			})
		})
	}
}
