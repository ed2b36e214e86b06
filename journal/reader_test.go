package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/journal"
	"github.com/picloud/picloud/journal/journaltest"
)

// openReal opens a journal on the real disk.
func openReal(t *testing.T, at string) *journal.Journal {
	t.Helper()
	j, rec, err := journal.Open(journal.Config{Dir: at, SegmentSize: segmentBytes})
	if err != nil || len(rec.Damage) != 0 {
		t.Fatalf("open: %+v, %v", rec, err)
	}
	return j
}

// A reader follows the tail over rolls while the writer writes and Run works:
// every record once, in order, none before it is durable. (RT-6: replay has no
// gap and no duplicate.)
func TestReaderFollowsTheTail(t *testing.T) {
	t.Parallel()
	const last = 400
	j := openReal(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- j.Run(ctx) }()
	results := make(chan error, 3)
	for range 3 {
		go func() { results <- follow(ctx, j, last) }()
	}
	grow(t, j, last)
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func follow(ctx context.Context, j *journal.Journal, last journal.LSN) error {
	r, err := j.NewReader(1)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	for want := journal.LSN(1); want <= last; {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			if err := j.Wait(ctx, want-1); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if rec.LSN != want || rec.LSN > j.Synced() || !bytes.Equal(rec.Body, body(want)) {
			return fmt.Errorf("record %d where %d should be, synced %d", rec.LSN, want, j.Synced())
		}
		want++
	}
	return nil
}

// A reader made for a record to come returns that one first, and nothing that
// is not durable.
func TestReaderFromTheFuture(t *testing.T) {
	t.Parallel()
	j := openReal(t, t.TempDir())
	grow(t, j, 2)
	if _, err := j.Append([]journal.Record{{Kind: 1, Body: body(3)}, {Kind: 1, Body: body(4)}}); err != nil {
		t.Fatal(err)
	}
	r, err := j.NewReader(4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("next: %v, want EOF", err)
	}
	if err := j.Sync(); err != nil {
		t.Fatal(err)
	}
	if rec, err := r.Next(); err != nil || rec.LSN != 4 {
		t.Errorf("record %d, %v, want 4", rec.LSN, err)
	}
	if err := errors.Join(r.Close(), j.Close()); err != nil {
		t.Error(err)
	}
}

// Wait ends with its context, and with the cause.
func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	j := openReal(t, t.TempDir())
	cause := errors.New("gone home")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := j.Wait(ctx, 0); !errors.Is(err, cause) {
		t.Errorf("wait: %v, want %v", err, cause)
	}
	grow(t, j, 1)
	if err := j.Wait(ctx, 0); err != nil {
		t.Errorf("wait for what is there: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// A reader keeps the segment it is in: dropped, its file is not used again
// before the reader leaves it. New readers are told that it is gone.
func TestDropWhileReading(t *testing.T) {
	t.Parallel()
	j := openReal(t, t.TempDir())
	grow(t, j, 200)
	entries, err := j.Entries([]byte("k"), 1)
	if err != nil || len(entries) == 0 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	r, err := j.NewReader(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if err := j.Drop(180); err != nil {
		t.Fatal(err)
	}
	grow(t, j, 500) // takes every spare file there is
	end := entries[len(entries)-1].LSN
	for want := journal.LSN(2); want <= end; want++ {
		rec, err := r.Next()
		if err != nil || !bytes.Equal(rec.Body, body(want)) {
			t.Fatalf("record %d: %+v, %v", want, rec, err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, journal.ErrGone) {
		t.Errorf("behind the pinned segment: %v, want ErrGone", err)
	}
	if _, err := j.Read(entries[0], nil); !errors.Is(err, journal.ErrGone) {
		t.Errorf("read: %v, want ErrGone", err)
	}
	if _, err := j.Entries([]byte("k"), 1); !errors.Is(err, journal.ErrGone) {
		t.Errorf("entries: %v, want ErrGone", err)
	}
	if _, err := j.NewReader(1); !errors.Is(err, journal.ErrGone) {
		t.Errorf("new reader: %v, want ErrGone", err)
	}
	before := j.SizeOnDisk()
	if err := errors.Join(r.Close(), j.Drop(0)); err != nil {
		t.Fatal(err)
	}
	if after := j.SizeOnDisk(); after > before {
		t.Errorf("%d bytes on the disk, %d before the reader left", after, before)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// What rots after the start is met as a DamageError, never as other bytes.
func TestReadMeetsDamage(t *testing.T) {
	t.Parallel()
	fs := journaltest.New()
	j, _ := open(t, fs)
	grow(t, j, 5)
	size := int64(40 + 1 + len(body(1)))
	fs.Flip(firstSegment, dataStart+2*size+100, 2)
	entries, err := j.Entries([]byte("k"), 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		_, err := j.Read(e, nil)
		var damage *journal.DamageError
		if hurt := errors.As(err, &damage); hurt != (i == 2) || (hurt && damage.LSN != 3) || (!hurt && err != nil) {
			t.Errorf("read %d: %v", e.LSN, err)
		}
	}
	r, err := j.NewReader(1)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	var damage *journal.DamageError
	if _, err := r.Next(); !errors.As(err, &damage) || damage.LSN != 3 {
		t.Errorf("next: %v, want damage at 3", err)
	}
}

// A copy of a snapshot, taken while the writer writes and rolls, opens and ends
// exactly where the snapshot says.
func TestSnapshotOpens(t *testing.T) {
	t.Parallel()
	j := openReal(t, t.TempDir())
	for _, n := range []journal.LSN{1, 30, 57, 130, 210} {
		grow(t, j, n)
		if _, err := j.Append([]journal.Record{{Kind: 1, Body: body(n + 1)}}); err != nil { // not durable
			t.Fatal(err)
		}
		snap, err := j.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Sync(); err != nil {
			t.Fatal(err)
		}
		grow(t, j, n+20)
		if err := j.Drop(n); err != nil {
			t.Fatal(err)
		}
		var first journal.LSN
		to := t.TempDir()
		for _, f := range snap.Files() {
			in, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(in)
			if err != nil || int64(len(b)) != f.Size || in.Close() != nil {
				t.Fatalf("%s: %d bytes of %d: %v", f.Name, len(b), f.Size, err)
			}
			if err := os.WriteFile(filepath.Join(to, f.Name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if snap.Last() != n {
			t.Errorf("snapshot ends with %d, want %d", snap.Last(), n)
		}
		c, rec, err := journal.Open(journal.Config{Dir: to, SegmentSize: segmentBytes, Copy: true})
		if err != nil || rec.Last != n || len(rec.Damage) != 0 {
			t.Fatalf("open the copy of %d: %+v, %v", n, rec, err)
		}
		first = rec.First
		for i, r := range read(t, c, first) {
			if r.LSN != first+journal.LSN(i) || !bytes.Equal(r.Body, body(r.LSN)) {
				t.Fatalf("record %+v", r)
			}
		}
		grow(t, c, n+80) // over a roll
		if err := errors.Join(c.Close(), snap.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// What was written comes back after a restart on the real disk, with the index.
func TestReopenOnTheRealDisk(t *testing.T) {
	t.Parallel()
	at := t.TempDir()
	j := openReal(t, at)
	grow(t, j, 150)
	spans := j.Spans([]byte("k"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append([]journal.Record{{Kind: 1}}); err == nil {
		t.Error("append after Close succeeded")
	}
	j, rec, err := journal.Open(journal.Config{Dir: at, SegmentSize: segmentBytes, ScanFrom: 151})
	if err != nil || rec.Last != 150 || rec.First != 1 || rec.Fresh {
		t.Fatalf("recovery %+v, %v", rec, err)
	}
	whole(t, j, 150)
	if got := j.Spans([]byte("k")); !slices.Equal(got, spans) {
		t.Errorf("spans %+v, want %+v", got, spans)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// Starting and stopping again and again leaves no goroutine and no descriptor.
func TestNothingIsLeftOpen(t *testing.T) { //nolint:paralleltest // counts what the process has
	at := t.TempDir()
	cycle := func(n int) {
		j := openReal(t, at)
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- j.Run(ctx) }()
		grow(t, j, journal.LSN(n)*80)
		if err := j.Drop(j.Synced() - 10); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := errors.Join(<-ran, j.Close()); err != nil {
			t.Fatal(err)
		}
	}
	cycle(1)
	files, goroutines := descriptors(t), runtime.NumGoroutine()
	for n := range 8 {
		cycle(n + 2)
	}
	if got := descriptors(t); got > files {
		t.Errorf("%d descriptors, %d before", got, files)
	}
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > goroutines && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines, %d before", got, goroutines)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// OP-8: reading does not even note on the card that something was read.
func TestReadingWritesNoAccessTime(t *testing.T) {
	t.Parallel()
	at := t.TempDir()
	j, _, err := journal.Open(journal.Config{Dir: at})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	grow(t, j, 3)
	name := filepath.Join(at, "00000000000000000001.log")
	old := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(name, old, time.Time{}); err != nil {
		t.Fatal(err)
	}
	read(t, j, 1)
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	if got := time.Unix(st.Atim.Unix()); !got.Equal(old) {
		t.Errorf("reading set the access time to %v", got)
	}
}
