package journal_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/picloud/picloud/journal"
	"github.com/picloud/picloud/journal/journaltest"
)

// checkReadAt reads every record by its LSN, in random order: those that are gone are
// told, all others are there.
func (m *model) checkReadAt(t *testing.T, j *journal.Journal, rng *rand.Rand, gone map[journal.LSN]bool) {
	t.Helper()
	for _, i := range rng.Perm(int(m.newest) + 2) {
		lsn := journal.LSN(i)
		r, err := j.ReadAt(lsn)
		w, there := m.records[lsn]
		if !there || gone[lsn] {
			if !errors.Is(err, journal.ErrGone) {
				t.Fatalf("record %d that is not there: %+v, %v", lsn, r, err)
			}
			continue
		}
		if err != nil || r.LSN != lsn || r.Kind != w.Kind || r.Seq != w.Seq || r.At != w.At || !bytes.Equal(r.Key, w.Key) || !bytes.Equal(r.Body, w.Body) {
			t.Fatalf("record %d reads %+v, %v, want %+v", lsn, r, err, w)
		}
	}
}

// A record is found by its LSN: durable or not, in complete segments and the active
// one, after a restart that trusts footers and one that reads everything, and beside
// records that were given up or dropped.
func TestRecordIsFoundByItsLSN(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	disk := journaltest.New()
	j, _ := open(t, disk)
	m := fillThin(t, j, rng)
	if _, err := j.Append(m.group(rng, false)); err != nil { // not synced
		t.Fatal(err)
	}
	m.checkReadAt(t, j, rng, nil)
	if _, err := thinAll(j); err != nil {
		t.Fatal(err)
	}
	gone := m.givenUp(j)
	m.checkReadAt(t, j, rng, gone)
	for _, from := range []journal.LSN{0, 1 << 40} {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		if j, _, err = journal.Open(journal.Config{Dir: dir, FS: disk, SegmentSize: 64 << 10, ScanFrom: from}); err != nil {
			t.Fatal(err)
		}
		m.checkReadAt(t, j, rng, gone)
	}
	second := j.Segments()[1].Base
	if err := j.Drop(second); err != nil {
		t.Fatal(err)
	}
	for lsn := range second {
		gone[lsn] = true
	}
	m.checkReadAt(t, j, rng, gone)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// A reader of the tail returns what is not durable yet, once, and goes on with what
// comes.
func TestTailReaderReturnsWhatIsNotDurable(t *testing.T) {
	t.Parallel()
	j := openReal(t, t.TempDir())
	grow(t, j, 2)
	r, err := j.NewTailReader(2)
	if err != nil {
		t.Fatal(err)
	}
	for want := journal.LSN(2); want <= 600; want++ { // over several segments
		if want > 2 {
			if _, err := j.Append([]journal.Record{{Kind: 1, Body: body(want)}}); err != nil {
				t.Fatal(err)
			}
		}
		rec, err := r.Next()
		if err != nil || rec.LSN != want || !bytes.Equal(rec.Body, body(want)) {
			t.Fatalf("record %d, %v, want %d", rec.LSN, err, want)
		}
	}
	if err := errors.Join(r.Close(), j.Close()); err != nil {
		t.Error(err)
	}
}

// Damage to one record is told of that one, and does not hide its neighbours.
func TestRecordBesideDamageIsFound(t *testing.T) {
	t.Parallel()
	at := t.TempDir()
	j := openReal(t, at)
	grow(t, j, 20)
	name := filepath.Join(at, "00000000000000000001.log")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, body(7))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{b[i] ^ 1}, int64(i)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for lsn := journal.LSN(1); lsn <= 20; lsn++ {
		r, err := j.ReadAt(lsn)
		if _, damaged := errors.AsType[*journal.DamageError](err); damaged != (lsn == 7) {
			t.Errorf("record %d: %v", lsn, err)
		}
		if lsn != 7 && !bytes.Equal(r.Body, body(lsn)) {
			t.Errorf("record %d reads %q", lsn, r.Body)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkReadAt reads records by their LSN at random in a journal of 32 MiB.
func BenchmarkReadAt(b *testing.B) {
	j, _, err := journal.Open(journal.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	group := make([]journal.Record, 500)
	for i := range group {
		group[i] = journal.Record{Kind: 1, Key: []byte("default\x00topic"), Body: make([]byte, 150)}
	}
	for j.SizeOnDisk() < 32<<20 {
		if _, err := j.Append(group); err != nil {
			b.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		if _, err := j.ReadAt(1 + journal.LSN(rng.Uint64N(uint64(j.Written())))); err != nil {
			b.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}
