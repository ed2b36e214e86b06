package sweeper

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// book is a book that can be lost.
type book struct{ names map[string]time.Time }

func (b *book) Booked() (map[string]time.Time, error) { return b.names, nil }

func (b *book) Book(names map[string]time.Time) error {
	b.names = maps.Clone(names)
	return nil
}

// drop makes a file that was last written some time ago.
func drop(t *testing.T, root, name string, ago time.Duration) {
	t.Helper()
	path := filepath.Join(root, name)
	at := time.Now().Add(-ago)
	for _, err := range []error{os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600), os.Chtimes(path, at, at)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func left(t *testing.T, root string) (names []string) {
	t.Helper()
	_ = filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			name, _ := filepath.Rel(root, path)
			names = append(names, name)
		}
		return nil
	})
	return names
}

func sweep(t *testing.T, task Task, want int) {
	t.Helper()
	if n, err := task.Sweep(t.Context()); n != want || err != nil {
		t.Errorf("%d removed, %v, want %d", n, err, want)
	}
}

// SW-1: temporary files older than an hour go, wherever they lie; young ones and
// everything else stay; a root that does not exist is no fault.
func TestOldTemporaryFilesGo(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "files")
	task := NewTemps(root, &book{}, nil).Task()
	sweep(t, task, 0)
	for name, ago := range map[string]time.Duration{
		"a.tmp.1": 2 * time.Hour, "sub/b.tmp.2": 61 * time.Minute, "c.tmp.3": 59 * time.Minute, "tomorrow.tmp.1": -24 * time.Hour,
		"old": 48 * time.Hour, "tmp": 48 * time.Hour, "x.tmp": 48 * time.Hour, "sub/tmp.d": 48 * time.Hour,
	} {
		drop(t, root, name, ago)
	}
	if err := os.Mkdir(filepath.Join(root, "dir.tmp.1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(root, "link.tmp.1")); err != nil {
		t.Fatal(err)
	}
	sweep(t, task, 2)
	if got := left(t, root); !slices.Equal(got, []string{"c.tmp.3", "link.tmp.1", "old", "sub/tmp.d", "tmp", "tomorrow.tmp.1", "x.tmp"}) {
		t.Errorf("%v", got)
	}
}

// SW-1: a clock that jumps makes no file old that is being written, whether it was
// seen to come or not; what the book says counts after a restart, and losing the
// book loses nothing.
func TestAgeIsNotThatOfTheClock(t *testing.T) {
	t.Parallel()
	root, b := t.TempDir(), &book{}
	temps := NewTemps(root, b, nil)
	var up, jump atomic.Int64
	temps.up = func() time.Duration { return time.Duration(up.Load()) }
	temps.now = func() time.Time { return time.Now().Add(time.Duration(up.Load() + jump.Load())) }
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		temps.follow(ctx)
		close(ended)
	}()
	for seen := false; !seen; { // the watch may not be there for the first of them
		drop(t, root, "new.tmp.1", 0)
		_ = os.Remove(filepath.Join(root, "new.tmp.1"))
		drop(t, root, "new.tmp.1", 0)
		<-time.After(10 * time.Millisecond)
		temps.mu.Lock()
		seen = len(temps.seen) == 1
		temps.mu.Unlock()
	}
	jump.Store(int64(20 * 365 * 24 * time.Hour)) // the network told the time
	sweep(t, temps.Task(), 0)
	up.Store(int64(30 * time.Minute))
	sweep(t, temps.Task(), 0) // and books it
	stop()
	<-ended

	again := NewTemps(root, b, nil)
	again.now = func() time.Time { return temps.now().Add(29 * time.Minute) }
	sweep(t, again.Task(), 0)
	again.now = func() time.Time { return temps.now().Add(31 * time.Minute) }
	sweep(t, again.Task(), 1)
	if len(b.names) != 0 {
		t.Errorf("still booked: %v", b.names)
	}
	drop(t, root, "lost.tmp.1", 2*time.Hour)
	sweep(t, NewTemps(root, &book{}, nil).Task(), 1)
}

// SW-1: it is swept at the start and every six hours, and no fault ends that.
func TestEverySixHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		s := New(nil, Task{Name: "broken", Sweep: func(context.Context) (int, error) { return 0, errors.New("broken") }},
			Task{Name: "t", Sweep: func(context.Context) (int, error) {
				at = append(at, time.Since(began))
				return 1, nil
			}})
		ctx, stop := context.WithTimeout(t.Context(), 13*time.Hour)
		defer stop()
		if err := s.Run(ctx); err != nil || !slices.Equal(at, []time.Duration{0, 6 * time.Hour, 12 * time.Hour}) {
			t.Errorf("%v, %v", at, err)
		}
	})
}

// HW-6: sweeps wait while the board is to be spared, and not for ever.
func TestSweepsSpareTheBoard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		s := New(nil, Task{Name: "t", Sweep: func(context.Context) (int, error) {
			at = append(at, time.Since(began).Round(time.Hour))
			return 0, nil
		}})
		s.Busy = func() bool { return time.Since(began) < 90*time.Minute || time.Since(began) > 7*time.Hour }
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Hour)
		defer stop()
		if err := s.Run(ctx); err != nil || !slices.Equal(at, []time.Duration{2 * time.Hour, 6 * time.Hour, 18 * time.Hour}) {
			t.Errorf("%v, %v", at, err)
		}
	})
}
