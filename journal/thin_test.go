package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/picloud/picloud/journal"
	"github.com/picloud/picloud/journal/journaltest"
)

// chatty says which key is given up in these tests.
func chatty(key []byte) bool { return string(key) == "key-0" }

// givenUp are the records that thinning everything complete takes: those of
// whole units of the chatty key.
func (m *model) givenUp(j *journal.Journal) map[journal.LSN]bool {
	gone := map[journal.LSN]bool{}
	for _, seg := range j.Segments() {
		if !seg.Sealed {
			continue
		}
		for lsn := seg.Base; lsn <= seg.Last; {
			end, all := lsn, true
			for {
				r := m.records[end]
				all = all && chatty(r.Key)
				end++
				if !r.More {
					break
				}
			}
			for ; lsn < end; lsn++ {
				if all {
					gone[lsn] = true
				}
			}
		}
	}
	return gone
}

// checkThinned holds a journal against the model, where some records may be
// gone: exactly those are, or none of a segment.
func (m *model) checkThinned(t *testing.T, j *journal.Journal, gone map[journal.LSN]bool, exactly bool) {
	t.Helper()
	want := journal.LSN(1)
	for _, r := range read(t, j, 1) {
		first, last := r.Range()
		if first != want {
			t.Fatalf("record %d comes after %d", first, want-1)
		}
		want = last + 1
		if r.Kind == journal.KindThinned {
			for lsn := first; lsn <= last; lsn++ {
				if !gone[lsn] {
					t.Fatalf("record %d was given up: %+v", lsn, m.records[lsn])
				}
			}
			continue
		}
		if exactly && gone[r.LSN] {
			t.Fatalf("record %d is still there", r.LSN)
		}
		if w := m.records[r.LSN]; r.Kind != w.Kind || r.More != w.More || r.Seq != w.Seq || r.At != w.At || !bytes.Equal(r.Key, w.Key) || !bytes.Equal(r.Body, w.Body) {
			t.Fatalf("record %d is %+v, want %+v", r.LSN, r, w)
		}
	}
	if want != m.newest+1 {
		t.Fatalf("the journal ends with %d, want %d", want-1, m.newest)
	}
	j.Keys(func(key []byte, spans []journal.Span) bool {
		for _, sp := range spans {
			entries, err := j.Entries(key, sp.Segment)
			if err != nil || len(entries) != sp.Count {
				t.Fatalf("%d entries of %q in %d, want %d: %v", len(entries), key, sp.Segment, sp.Count, err)
			}
			for _, e := range entries {
				if r, err := j.Read(e, nil); err != nil || !bytes.Equal(r.Body, m.records[e.LSN].Body) {
					t.Fatalf("entry %+v reads %+v, %v", e, r, err)
				}
			}
		}
		return true
	})
}

// fillThin writes random groups until there are a few segments.
func fillThin(t *testing.T, j *journal.Journal, rng *rand.Rand) *model {
	t.Helper()
	m := &model{records: map[journal.LSN]journal.Record{}}
	for len(j.Segments()) < 4 {
		if _, err := j.Append(m.group(rng, false)); err != nil {
			t.Fatal(err)
		}
		if err := j.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func thinAll(j *journal.Journal) (freed int64, err error) {
	for _, seg := range j.Segments() {
		n, err := j.Thin(seg.Base, chatty)
		if err != nil {
			return freed, err
		}
		freed += n
	}
	return freed, nil
}

// What is given up is gone, all else is as it was: for readers, in the index,
// after a restart, and after being thinned again. Who was in the middle reads
// on.
func TestThin(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			fs := journaltest.New()
			j, _ := open(t, fs)
			m := fillThin(t, j, rand.New(rand.NewPCG(seed, 1)))
			gone := m.givenUp(j)

			var held []journal.Entry
			j.Keys(func(key []byte, spans []journal.Span) bool {
				for _, sp := range spans {
					entries, err := j.Entries(key, sp.Segment)
					if err != nil {
						t.Fatal(err)
					}
					held = append(held, entries...)
				}
				return true
			})
			before, err := j.NewReader(1)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := before.Next(); err != nil {
				t.Fatal(err)
			}
			size := j.SizeOnDisk()
			freed, err := thinAll(j)
			if err != nil || freed <= 0 || size-j.SizeOnDisk() != freed {
				t.Fatalf("freed %d, the disk has %d less: %v", freed, size-j.SizeOnDisk(), err)
			}
			m.checkThinned(t, j, gone, true)
			for _, e := range held {
				r, err := j.Read(e, nil)
				if gone[e.LSN] {
					if !errors.Is(err, journal.ErrGone) {
						t.Fatalf("an entry of record %d, which was given up: %v", e.LSN, err)
					}
				} else if err != nil || !bytes.Equal(r.Body, m.records[e.LSN].Body) {
					t.Fatalf("an entry of record %d from before: %+v, %v", e.LSN, r, err)
				}
			}
			for want := journal.LSN(2); ; { // to the end of the segment it is in as it was, then what is left
				r, err := before.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				first, last := r.Range()
				if err != nil || first != want {
					t.Fatalf("%+v after %d: %v", r, want-1, err)
				}
				want = last + 1
			}
			if err := before.Close(); err != nil {
				t.Fatal(err)
			}
			if freed, err := thinAll(j); err != nil || freed != 0 {
				t.Errorf("again: %d, %v", freed, err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j, rec := open(t, fs)
			if len(rec.Damage) > 0 || rec.Last != m.newest {
				t.Fatalf("reopened: %+v", rec)
			}
			m.checkThinned(t, j, gone, true)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The plug is pulled, or the disk fails, in every operation of thinning: of each
// file either the old or the new one is there, and nothing else is missing.
func TestThinIsAllOrNothing(t *testing.T) {
	t.Parallel()
	for op := range 40 {
		t.Run(fmt.Sprint(op), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(op), 2)) // #nosec G115 -- a seed
			fs := journaltest.New()
			j, _ := open(t, fs)
			m := fillThin(t, j, rng)
			gone := m.givenUp(j)
			n, failed := 0, false
			fs.SetFault(func(string, string) error {
				if n++; n > op {
					failed = true
					return errors.New("the disk is gone")
				}
				return nil
			})
			_, err := thinAll(j)
			if failed && err == nil {
				t.Fatal("a failure was not told")
			}
			for range 5 {
				cut := fs.Crash(rng)
				cut.SetFault(nil)
				k, rec := open(t, cut)
				if len(rec.Damage) > 0 {
					t.Fatalf("after operation %d: %+v", op, rec.Damage)
				}
				m.checkThinned(t, k, gone, false)
				if err := k.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
