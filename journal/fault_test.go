package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/picloud/picloud/journal"
	"github.com/picloud/picloud/journal/journaltest"
)

// Each operation on the disk fails once, and then the power is cut: what was
// synced before is there, a failure is final, and nothing counts as damage.
func TestEveryFault(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		step := 1
		if testing.Short() {
			step = 7
		}
		for n := 1; ; n += step {
			rng := rand.New(rand.NewPCG(uint64(n), 5))
			fs := journaltest.New()
			count := 0
			fs.SetFault(func(string, string) error {
				if count++; count == n {
					return cause
				}
				return nil
			})
			synced := work(t, fs)
			if count < n {
				break // every operation has had its turn
			}
			fs.SetFault(nil)
			j, rec := open(t, fs.Crash(rng))
			if len(rec.Damage) != 0 || rec.Last < synced {
				t.Fatalf("fault %d (%v): recovery %+v, %d was synced", n, cause, rec, synced)
			}
			first := max(rec.First, 1)
			for i, r := range read(t, j, first) {
				if r.LSN != first+journal.LSN(i) || string(r.Body) != string(body(r.LSN)) {
					t.Fatalf("fault %d (%v): record %+v", n, cause, r)
				}
			}
		}
	}
}

// work writes over some segments, drops, syncs and closes, until something
// fails. It returns the newest record that was acknowledged.
func work(t *testing.T, fs *journaltest.FS) journal.LSN {
	t.Helper()
	j, _, err := journal.Open(journal.Config{Dir: dir, FS: fs, SegmentSize: segmentBytes})
	if err != nil {
		return 0
	}
	var final error
	for range 150 {
		lsn := j.Written() + 1
		_, err := j.Append([]journal.Record{{Kind: 1, Key: []byte("k"), Seq: uint64(lsn), Body: body(lsn)}})
		if err == nil {
			err = j.Sync()
		}
		if err == nil && lsn%70 == 0 {
			err = j.Drop(lsn - 5)
		}
		if final != nil && !errors.Is(err, journal.ErrFailed) {
			t.Fatalf("it failed with %v, and then said %v", final, err)
		}
		if errors.Is(err, journal.ErrFailed) {
			final = err
		} else if err != nil && !errors.Is(err, journal.ErrNoSpace) {
			t.Fatalf("append or sync: %v, want ErrFailed or ErrNoSpace", err)
		}
	}
	_ = j.Close() // may be what fails
	return j.Synced()
}

// A dropped file that cannot be removed does not let later ones go before it:
// the gap would look like a loss.
func TestDropThatFailsLeavesNoGap(t *testing.T) {
	t.Parallel()
	fs, _ := several(t)
	j, _ := open(t, fs)
	failed := false
	fs.SetFault(func(op, _ string) error {
		if (op == "rename" || op == "remove") && !failed {
			failed = true
			return syscall.EIO
		}
		return nil
	})
	if err := j.Drop(200); err != nil {
		t.Fatal(err)
	}
	fs.SetFault(nil)
	if j2, rec := open(t, fs.Kill()); !failed || len(rec.Damage) != 0 || rec.First != 1 {
		t.Fatalf("recovery %+v", rec)
	} else if lost := whole(t, j2, 240); lost != 0 {
		t.Errorf("%d lost", lost)
	}
}

// Without space for the next segment nothing is written and nothing is broken;
// when space returns, appending goes on.
func TestNoSpaceAtRollIsNotFinal(t *testing.T) {
	t.Parallel()
	fs := journaltest.New()
	j, _ := open(t, fs)
	fs.SetLimit(segmentBytes + 1000)
	var err error
	for err == nil {
		lsn := j.Written() + 1
		if _, err = j.Append([]journal.Record{{Kind: 1, Body: body(lsn)}}); err == nil {
			err = j.Sync()
		}
	}
	if !errors.Is(err, journal.ErrNoSpace) {
		t.Fatalf("append: %v, want ErrNoSpace", err)
	}
	last := j.Written()
	if _, err := j.Append([]journal.Record{{Kind: 1, Body: body(last + 1)}}); !errors.Is(err, journal.ErrNoSpace) || j.Written() != last {
		t.Fatalf("append again: %v, written %d", err, j.Written())
	}
	fs.SetLimit(0)
	grow(t, j, last+10)
	whole(t, j, last+10)
	j, rec := open(t, fs.Kill())
	if rec.Last != last+10 || len(rec.Damage) != 0 {
		t.Fatalf("recovery %+v", rec)
	}
	whole(t, j, last+10)
}

// A failed fdatasync is never tried again.
func TestFailedSyncIsFinal(t *testing.T) {
	t.Parallel()
	fs := journaltest.New()
	j, _ := open(t, fs)
	grow(t, j, 1)
	var syncs atomic.Int32
	fs.SetFault(func(op, _ string) error {
		if op == "sync" {
			syncs.Add(1)
			return syscall.EIO
		}
		return nil
	})
	waited := make(chan error, 1)
	go func() { waited <- j.Wait(context.Background(), 1) }()
	if _, err := j.Append([]journal.Record{{Kind: 1, Body: body(2)}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := j.Sync(); !errors.Is(err, journal.ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Fatalf("sync: %v, want ErrFailed for EIO", err)
		}
	}
	if _, err := j.Append([]journal.Record{{Kind: 1}}); !errors.Is(err, journal.ErrFailed) {
		t.Errorf("append: %v", err)
	}
	if syncs.Load() != 1 || j.Synced() != 1 {
		t.Errorf("%d syncs, synced %d, want 1 and 1", syncs.Load(), j.Synced())
	}
	if err := <-waited; !errors.Is(err, journal.ErrFailed) {
		t.Errorf("wait: %v", err)
	}
}

// What does not fit one group is refused before anything is written.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	j, _ := open(t, journaltest.New())
	for name, r := range map[string]journal.Record{
		"body": {Body: make([]byte, j.GroupLimit())},
		"key":  {Key: []byte(strings.Repeat("k", journal.MaxKey+1))},
	} {
		if _, err := j.Append([]journal.Record{{}, r}); !errors.Is(err, journal.ErrTooLarge) || j.Written() != 0 {
			t.Errorf("%s: %v, written %d", name, err, j.Written())
		}
	}
	if _, err := j.Append([]journal.Record{{Body: make([]byte, j.GroupLimit()-40)}}); err != nil {
		t.Errorf("largest record: %v", err)
	}
	for i := range 5 { // what is unsynced never exceeds a group
		if _, err := j.Append([]journal.Record{{Body: make([]byte, 6000)}}); err != nil || j.Unsynced() > j.GroupLimit() {
			t.Fatalf("append %d: %v, unsynced %d", i, err, j.Unsynced())
		}
	}
}

// Recovery itself may be cut short at any operation, again and again.
func TestRecoveryIsCrashSafe(t *testing.T) {
	t.Parallel()
	build := func() *journaltest.FS {
		fs, segs := several(t)
		fs.Flip(firstSegment, dataStart+3000, 3)
		if err := fs.Remove(path(segs[2].Base)); err != nil {
			t.Fatal(err)
		}
		return fs.Clone()
	}
	clean := build()
	j, _ := open(t, clean)
	want := whole(t, j, 240)
	for n := 1; n < 200; n++ {
		rng := rand.New(rand.NewPCG(uint64(n), 6))
		fs := build()
		count := 0
		fs.SetFault(func(string, string) error {
			if count++; count >= n {
				return fmt.Errorf("operation %d: %w", n, syscall.EIO)
			}
			return nil
		})
		_, _, err := journal.Open(journal.Config{Dir: dir, FS: fs, SegmentSize: segmentBytes})
		after := fs.Crash(rng)
		j, _ := open(t, after)
		if lost := whole(t, j, 240); lost != want {
			t.Fatalf("cut at operation %d: %d lost, want %d", n, lost, want)
		}
		if err == nil {
			return
		}
	}
	t.Fatal("recovery does not end")
}

// Neither is it final that there is no descriptor for the next segment.
func TestNoDescriptorAtRollIsNotFinal(t *testing.T) {
	t.Parallel()
	fs := journaltest.New()
	j, _ := open(t, fs)
	fs.SetFault(func(op, _ string) error {
		if op == "create" {
			return syscall.EMFILE
		}
		return nil
	})
	var err error
	for err == nil {
		_, err = j.Append([]journal.Record{{Kind: 1, Body: body(j.Written() + 1)}})
	}
	if !errors.Is(err, journal.ErrNoSpace) {
		t.Fatalf("append: %v, want ErrNoSpace", err)
	}
	fs.SetFault(nil)
	grow(t, j, j.Written()+10)
	whole(t, j, j.Written())
}
