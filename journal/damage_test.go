package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/picloud/picloud/journal"
	"github.com/picloud/picloud/journal/journaltest"
)

const (
	segmentBytes = 64 << 10
	dataStart    = 4096
	firstSegment = dir + "/00000000000000000001.log"
)

func body(lsn journal.LSN) []byte { return fmt.Appendf(nil, "record %06d %0900d", lsn, lsn) }

// grow appends and syncs records one by one until the journal has n.
func grow(t *testing.T, j *journal.Journal, n journal.LSN) {
	t.Helper()
	for lsn := j.Written() + 1; lsn <= n; lsn++ {
		if _, err := j.Append([]journal.Record{{Kind: 1, Seq: uint64(lsn), At: int64(lsn), Key: []byte("k"), Body: body(lsn)}}); err != nil {
			t.Fatal(err)
		}
		if err := j.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

// several returns a closed journal of some complete segments, and where they
// begin.
func several(t *testing.T) (*journaltest.FS, []journal.Segment) {
	t.Helper()
	fs := journaltest.New()
	j, _ := open(t, fs)
	grow(t, j, 240)
	segs := j.Segments()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if len(segs) < 4 {
		t.Fatalf("%d segments, the test needs 4", len(segs))
	}
	return fs, segs
}

func path(base journal.LSN) string { return fmt.Sprintf("%s/%020d.log", dir, base) }

// whole checks that every record up to last is there or counted as lost, and
// returns how many are lost.
func whole(t *testing.T, j *journal.Journal, last journal.LSN) (lost uint64) {
	t.Helper()
	want := journal.LSN(1)
	for _, r := range read(t, j, 1) {
		if r.LSN != want {
			t.Fatalf("record %d where %d should be", r.LSN, want)
		}
		if r.Kind == journal.KindLost {
			upTo := binary.BigEndian.Uint64(r.Body[8:])
			lost += upTo + 1 - uint64(r.LSN)
			want = journal.LSN(upTo) + 1
			continue
		}
		if !bytes.Equal(r.Body, body(r.LSN)) {
			t.Fatalf("record %d has another body", r.LSN)
		}
		want++
	}
	if want != last+1 {
		t.Fatalf("records end with %d, want %d", want-1, last)
	}
	return lost
}

// A damaged record in a complete segment costs that record only.
func TestDamageInACompleteSegment(t *testing.T) {
	t.Parallel()
	fs, _ := several(t)
	fs.Flip(firstSegment, dataStart+3000, 3)
	j, rec := open(t, fs)
	if len(rec.Damage) != 1 || rec.Damage[0].First != rec.Damage[0].Last || rec.Damage[0].First == 0 {
		t.Fatalf("recovery %+v", rec)
	}
	if lost := whole(t, j, 240); lost != 1 {
		t.Errorf("%d records lost, want 1", lost)
	}
	if _, rec = open(t, fs.Kill()); len(rec.Damage) != 0 {
		t.Errorf("the second recovery found %+v", rec.Damage)
	}
}

// A segment that is missing in the middle is a counted loss that readers meet.
func TestMissingSegmentIsCounted(t *testing.T) {
	t.Parallel()
	fs, segs := several(t)
	if err := fs.Remove(path(segs[1].Base)); err != nil {
		t.Fatal(err)
	}
	j, rec := open(t, fs)
	if len(rec.Damage) != 1 || rec.Damage[0].First != segs[1].Base || rec.Damage[0].Last != segs[1].Last {
		t.Fatalf("recovery %+v, want the loss of %+v", rec, segs[1])
	}
	if lost := whole(t, j, 240); lost != uint64(segs[1].Last-segs[1].Base+1) {
		t.Errorf("%d records lost", lost)
	}
}

// A segment of zeros in the middle is a counted loss.
func TestZeroedSegmentIsCounted(t *testing.T) {
	t.Parallel()
	fs, segs := several(t)
	fs.WriteFile(path(segs[1].Base), make([]byte, segmentBytes))
	j, rec := open(t, fs)
	if len(rec.Damage) != 1 || rec.Damage[0].First != segs[1].Base || rec.Damage[0].Last != segs[1].Last {
		t.Fatalf("recovery %+v", rec)
	}
	whole(t, j, 240)
}

// A header that cannot be read costs nothing, be it the only one.
func TestDamagedHeaderCostsNothing(t *testing.T) {
	t.Parallel()
	for _, n := range []journal.LSN{20, 240} {
		for at := int64(0); at < 64; at += 7 {
			fs := journaltest.New()
			j, before := open(t, fs)
			grow(t, j, n)
			fs.Flip(firstSegment, at, 1)
			j, rec := open(t, fs.Kill())
			if len(rec.Damage) != 0 || rec.Last != n || rec.ID != before.ID {
				t.Fatalf("byte %d: recovery %+v, want id %d", at, rec, before.ID)
			}
			if lost := whole(t, j, n); lost != 0 {
				t.Fatalf("byte %d: %d records lost", at, lost)
			}
			grow(t, j, n+3)
			whole(t, j, n+3)
		}
	}
}

// DM-2: a newest segment of zeros, or of nothing, is a loss: a segment has its header
// before it has its name. In a journal that was closed it is known how much was in it.
func TestNewestSegmentWithoutHeader(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, segmentBytes} {
		fs, segs := several(t)
		newest := segs[len(segs)-1]
		fs.WriteFile(path(newest.Base), make([]byte, size))
		j, rec := open(t, fs)
		if len(rec.Damage) != 1 || rec.Damage[0].First != newest.Base || rec.Damage[0].Last != 240 || rec.Last != 240 {
			t.Fatalf("size %d: recovery %+v", size, rec)
		}
		grow(t, j, 250)
		if lost := whole(t, j, 250); lost != uint64(240-newest.Base+1) {
			t.Errorf("size %d: %d lost", size, lost)
		}
		for _, sp := range j.Spans([]byte("k")) {
			if e, err := j.Entries([]byte("k"), sp.Segment); err != nil || len(e) != sp.Count {
				t.Errorf("size %d: %d entries of %+v: %v", size, len(e), sp, err)
			}
		}
	}
}

// When nothing in the newest segment can be read, no LSN it may have had is
// given again, and the loss is in the log.
func TestUnreadableNewestSegment(t *testing.T) {
	t.Parallel()
	fs, segs := several(t)
	newest := segs[len(segs)-1]
	garbage := make([]byte, segmentBytes)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range garbage {
		garbage[i] = byte(rng.Uint32())
	}
	fs.WriteFile(path(newest.Base), garbage)
	j, rec := open(t, fs)
	if len(rec.Damage) != 1 || rec.Damage[0].First != newest.Base || rec.Damage[0].Last < 240 || rec.Last != rec.Damage[0].Last {
		t.Fatalf("recovery %+v", rec)
	}
	if !bytes.Equal(fs.ReadFile(rec.Damage[0].SetAside), garbage) {
		t.Error("the damaged file was not kept")
	}
	whole(t, j, rec.Last)
	grow(t, j, rec.Last+5)
	whole(t, j, rec.Last+5)
	if _, again := open(t, fs.Kill()); again.Last != rec.Last+5 || len(again.Damage) != 0 {
		t.Errorf("second recovery %+v", again)
	}
}

// What follows damage and was never acknowledged is a torn tail all the same:
// it is cut, not counted.
func TestTornTailBehindDamage(t *testing.T) {
	t.Parallel()
	fs := journaltest.New()
	j, _ := open(t, fs)
	grow(t, j, 6)
	recs := []journal.Record{{Kind: 1, Body: body(7)}, {Kind: 1, Body: body(8)}}
	if _, err := j.Append(recs); err != nil {
		t.Fatal(err)
	}
	size := int64(40 + 1 + len(body(1)))
	fs.Flip(firstSegment, dataStart+2*size+50, 0) // record 3, synced
	fs.Flip(firstSegment, dataStart+6*size+50, 0) // record 7, not synced; 8 is whole
	j, rec := open(t, fs.Kill())
	if len(rec.Damage) != 1 || rec.Damage[0].First != 3 || rec.Damage[0].Last != 3 || rec.Last != 6 {
		t.Fatalf("recovery %+v", rec)
	}
	grow(t, j, 9)
	if lost := whole(t, j, 9); lost != 1 {
		t.Errorf("%d lost", lost)
	}
}

// A unit of which a record is damaged is lost as a whole.
func TestDamagedUnitIsLostWhole(t *testing.T) {
	t.Parallel()
	fs := journaltest.New()
	j, _ := open(t, fs)
	grow(t, j, 2)
	unit := []journal.Record{{Kind: 1, Body: body(3), More: true}, {Kind: 1, Body: body(4), More: true}, {Kind: 1, Body: body(5)}}
	if _, err := j.Append(unit); err != nil {
		t.Fatal(err)
	}
	if err := j.Sync(); err != nil {
		t.Fatal(err)
	}
	grow(t, j, 8)
	at := int64(bytes.Index(fs.ReadFile(firstSegment), body(4)))
	fs.Flip(firstSegment, at+20, 4)
	j, rec := open(t, fs.Kill())
	if len(rec.Damage) != 1 || rec.Damage[0].First != 3 || rec.Damage[0].Last != 5 {
		t.Fatalf("recovery %+v", rec)
	}
	if lost := whole(t, j, 8); lost != 3 {
		t.Errorf("%d lost, want 3", lost)
	}
}

// A damaged footer costs a scan; with a good one, the index is the same.
func TestFooter(t *testing.T) {
	t.Parallel()
	fs, segs := several(t)
	rec := func(fs *journaltest.FS) (string, journal.Recovery) {
		j, rec, err := journal.Open(journal.Config{Dir: dir, FS: fs, SegmentSize: segmentBytes, ScanFrom: 241})
		if err != nil {
			t.Fatal(err)
		}
		if lost := whole(t, j, 240); lost != 0 {
			t.Fatalf("%d lost", lost)
		}
		var b strings.Builder
		for _, sp := range j.Spans([]byte("k")) {
			entries, err := j.Entries([]byte("k"), sp.Segment)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%+v %+v\n", sp, entries)
		}
		return b.String(), rec
	}
	want, _ := rec(fs.Clone())
	for back := int64(1); back <= 60; back++ {
		hurt := fs.Clone()
		hurt.Flip(firstSegment, segmentBytes-back, uint(back%8))
		got, r := rec(hurt)
		if got != want || len(r.Damage) != 0 {
			t.Fatalf("byte %d from the end: another index, or damage: %+v", back, r)
		}
	}
	if segs[0].Base != 1 {
		t.Fatal("the first segment was dropped")
	}
}

// A segment of another journal is set aside, and nothing of it is read.
func TestForeignSegment(t *testing.T) {
	t.Parallel()
	fs, segs := several(t)
	other, _ := several(t)
	newest := segs[len(segs)-1]
	foreign := newest.Last + 1
	b := other.ReadFile(firstSegment)
	fs.WriteFile(path(foreign), b)
	j, rec := open(t, fs)
	if len(rec.Damage) != 1 || rec.Last != 240 || !bytes.Equal(fs.ReadFile(rec.Damage[0].SetAside), b) {
		t.Fatalf("recovery %+v", rec)
	}
	grow(t, j, 300)
	whole(t, j, 300)
}

// A newer format stops Open, and nothing is touched.
func TestUnknownVersion(t *testing.T) {
	t.Parallel()
	fs, segs := several(t)
	name := path(segs[2].Base)
	b := fs.ReadFile(name)
	binary.LittleEndian.PutUint32(b[8:], 3)
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], crc32.MakeTable(crc32.Castagnoli)))
	fs.WriteFile(name, b)
	fs.WriteFile(dir+"/spare-1.tmp", []byte("left"))
	_, _, err := journal.Open(journal.Config{Dir: dir, FS: fs, SegmentSize: segmentBytes})
	if !errors.Is(err, journal.ErrVersion) {
		t.Fatalf("open: %v, want ErrVersion", err)
	}
	if !bytes.Equal(fs.ReadFile(name), b) || fs.ReadFile(dir+"/spare-1.tmp") == nil {
		t.Error("something was touched")
	}
}

// Files are used again, and nothing of their earlier life comes back.
func TestRecycledFilesDoNotResurrect(t *testing.T) {
	t.Parallel()
	fs := journaltest.New()
	m := journal.LSN(0)
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 12 {
		j, rec := open(t, fs)
		if len(rec.Damage) != 0 || rec.Last != m {
			t.Fatalf("round %d: recovery %+v, want last %d", round, rec, m)
		}
		for range 5 {
			grow(t, j, j.Written()+100)
			if err := j.Drop(j.Synced()); err != nil {
				t.Fatal(err)
			}
			if n := len(j.Segments()); n > 3 {
				t.Fatalf("%d segments after a drop", n)
			}
		}
		if size := j.SizeOnDisk(); size > 4*segmentBytes {
			t.Fatalf("%d bytes on the disk: files pile up", size)
		}
		for _, r := range read(t, j, j.Segments()[0].Base) {
			if !bytes.Equal(r.Body, body(r.LSN)) {
				t.Fatalf("record %d has another body", r.LSN)
			}
		}
		m = j.Synced()
		fs = fs.Crash(rng)
	}
}

// An empty file that has the name of a segment costs none of the records it
// seems to replace.
func TestStrayFileCostsNoRecords(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sealed", "active"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs, segs := several(t)
			base := segs[1].Base + 3
			if name == "active" {
				base = segs[len(segs)-1].Base + 3
			}
			f, err := fs.Create(path(base))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			j, rec := open(t, fs)
			if len(rec.Damage) != 1 || rec.Damage[0].SetAside == "" {
				t.Fatalf("recovery %+v, want that the file was set aside", rec)
			}
			if lost := whole(t, j, 240); lost != 0 {
				t.Errorf("%d records lost", lost)
			}
			grow(t, j, 241)
			if lost := whole(t, j, 241); lost != 0 {
				t.Errorf("%d records lost after another append", lost)
			}
		})
	}
}

// DM-2: a file whose footer is good and which no other follows any more is read like any
// other, as far as its records are of interest: damage in it is found by Open, and not by
// what reads the records then.
func TestDamageInTheLastFileThereIs(t *testing.T) {
	t.Parallel()
	fs, segs := several(t)
	newest := segs[len(segs)-1].Base
	if err := fs.Remove(path(newest)); err != nil {
		t.Fatal(err)
	}
	before := segs[len(segs)-2].Base
	fs.Flip(path(before), dataStart+3000, 3)
	trusting := fs.Clone()
	j, rec := open(t, fs)
	if len(rec.Damage) != 2 || rec.Damage[0].First < before || rec.Damage[0].Last >= newest || rec.Damage[1].First != newest {
		t.Errorf("recovery %+v", rec)
	}
	if lost := whole(t, j, j.Written()); lost != 1+uint64(j.Written()+1-newest) {
		t.Errorf("%d records are lost", lost)
	}
	_, rec, err := journal.Open(journal.Config{Dir: dir, FS: trusting, SegmentSize: segmentBytes, ScanFrom: newest})
	if err != nil || len(rec.Damage) != 1 {
		t.Errorf("a file that is of no interest was read: %+v, %v", rec, err)
	}
}
