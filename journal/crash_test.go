package journal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/picloud/picloud/journal"
	"github.com/picloud/picloud/journal/journaltest"
)

const dir = "/data/journal"

func open(t *testing.T, fs journal.FS) (*journal.Journal, journal.Recovery) {
	t.Helper()
	j, rec, err := journal.Open(journal.Config{Dir: dir, FS: fs, SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return j, rec
}

// read returns all durable records.
func read(t *testing.T, j *journal.Journal, from journal.LSN) []journal.Record {
	t.Helper()
	if j.Synced() < from {
		return nil
	}
	r, err := j.NewReader(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var out []journal.Record
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		rec.Key, rec.Body = bytes.Clone(rec.Key), bytes.Clone(rec.Body)
		out = append(out, rec)
	}
}

// model is what a writer knows: records by LSN, and how far they are promised.
type model struct {
	records  map[journal.LSN]journal.Record
	promised journal.LSN
	newest   journal.LSN
}

// check holds a recovered journal against the model: everything promised is
// there with its bytes, nothing is invented, units are whole.
func (m *model) check(t *testing.T, j *journal.Journal, rec journal.Recovery, what string) {
	t.Helper()
	if len(rec.Damage) > 0 {
		t.Fatalf("%s: damage %+v without a fault of the disk", what, rec.Damage)
	}
	if rec.Last < m.promised {
		t.Fatalf("%s: last record %d, %d was promised", what, rec.Last, m.promised)
	}
	if rec.Last > m.newest {
		t.Fatalf("%s: last record %d, only %d were written", what, rec.Last, m.newest)
	}
	got := read(t, j, max(rec.First, 1))
	for i, r := range got {
		want := m.records[r.LSN]
		if r.LSN != max(rec.First, 1)+journal.LSN(i) || r.Kind != want.Kind || r.More != want.More || r.Seq != want.Seq || r.At != want.At ||
			!bytes.Equal(r.Key, want.Key) || !bytes.Equal(r.Body, want.Body) {
			t.Fatalf("%s: record %d is %+v, want %+v", what, r.LSN, r, want)
		}
	}
	if len(got) > 0 && got[len(got)-1].More {
		t.Fatalf("%s: the last unit is not whole", what)
	}
	for lsn := range m.records {
		if lsn > rec.Last {
			delete(m.records, lsn) // never acknowledged: its number will be used again
		}
	}
	m.promised, m.newest = rec.Last, rec.Last
	m.checkIndex(t, j, rec, what)
}

func (m *model) checkIndex(t *testing.T, j *journal.Journal, rec journal.Recovery, what string) {
	t.Helper()
	indexed := 0
	j.Keys(func(key []byte, spans []journal.Span) bool {
		for _, sp := range spans {
			entries, err := j.Entries(key, sp.Segment)
			if err != nil || len(entries) != sp.Count {
				t.Fatalf("%s: %d entries of %q in %d, want %d: %v", what, len(entries), key, sp.Segment, sp.Count, err)
			}
			for _, e := range entries {
				r, err := j.Read(e, nil)
				want := m.records[e.LSN]
				if err != nil || !bytes.Equal(r.Body, want.Body) || !bytes.Equal(r.Key, key) || r.Seq != want.Seq || e.Seq != want.Seq || e.At != want.At {
					t.Fatalf("%s: entry %+v reads %+v, want %+v: %v", what, e, r, want, err)
				}
				indexed++
			}
		}
		return true
	})
	with := 0
	for lsn, r := range m.records {
		if lsn >= rec.First && len(r.Key) > 0 {
			with++
		}
	}
	if indexed != with {
		t.Fatalf("%s: %d records in the index, want %d", what, indexed, with)
	}
}

// group makes a random group of records.
func (m *model) group(rng *rand.Rand, equal bool) []journal.Record {
	recs := make([]journal.Record, 1+rng.IntN(6))
	for i := range recs {
		m.newest++
		n := rng.IntN(700)
		if equal {
			n = 100
		}
		body := make([]byte, n)
		for k := range body {
			body[k] = byte(rng.Uint32())
		}
		r := journal.Record{Kind: uint8(1 + rng.IntN(3)), Seq: uint64(m.newest) * 2, At: int64(rng.Uint32()), Body: body}
		if rng.IntN(4) > 0 {
			r.Key = fmt.Appendf(nil, "key-%d", rng.IntN(5))
		}
		r.More = i < len(recs)-1 && rng.IntN(2) == 0
		recs[i] = r
		r.LSN = m.newest
		m.records[m.newest] = r
	}
	return recs
}

// Power cuts at random moments of random work, with rotation, footers, dropping
// and recycling: what was synced is there, whole units only, nothing invented.
func TestPowerCutKeepsWhatWasSynced(t *testing.T) {
	t.Parallel()
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(seed), 1))
			fs := journaltest.New()
			m := &model{records: map[journal.LSN]journal.Record{}}
			for round := range 25 {
				j, rec := open(t, fs)
				m.check(t, j, rec, fmt.Sprintf("round %d", round))
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- j.Run(ctx) }()
				for range rng.IntN(60) {
					recs := m.group(rng, seed%3 == 0)
					if _, err := j.Append(recs); err != nil {
						t.Fatal(err)
					}
					m.promised = max(m.promised, j.Synced()) // Append may have had to sync
					if rng.IntN(3) > 0 {
						if err := j.Sync(); err != nil {
							t.Fatal(err)
						}
						m.promised = j.Synced()
					}
					if rng.IntN(40) == 0 {
						if err := j.Drop(j.Synced() / 2); err != nil {
							t.Fatal(err)
						}
					}
				}
				cancel()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if rng.IntN(4) == 0 {
					fs = fs.Kill()
				} else {
					fs = fs.Crash(rng)
				}
			}
		})
	}
}

// A group that is torn at every byte leaves the longest prefix of whole units.
func TestTornAtEveryByte(t *testing.T) {
	t.Parallel()
	fs := journaltest.New()
	j, _ := open(t, fs)
	base := []journal.Record{{Kind: 1, Seq: 1, Body: []byte("synced")}}
	if _, err := j.Append(base); err != nil {
		t.Fatal(err)
	}
	if err := j.Sync(); err != nil {
		t.Fatal(err)
	}
	before := fs.Clone()
	group := []journal.Record{
		{Kind: 1, Seq: 2, Body: []byte("alone")},
		{Kind: 1, Seq: 3, Body: []byte("first of three"), More: true},
		{Kind: 1, Seq: 4, Body: []byte("second"), More: true},
		{Kind: 1, Seq: 5, Body: []byte("third")},
		{Kind: 1, Seq: 6, Body: []byte("alone again")},
	}
	if _, err := j.Append(group); err != nil {
		t.Fatal(err)
	}
	name := dir + "/00000000000000000001.log"
	old, full := before.ReadFile(name), fs.ReadFile(name)
	start, end := -1, 0
	var ends []int // of whole units
	at := 4096
	for i := range 6 {
		at += 8 + int(binary.LittleEndian.Uint32(full[at:]))
		if i == 0 {
			start = at
		}
		if i != 2 && i != 3 {
			ends = append(ends, at)
		}
		end = at
	}
	for cut := start; cut <= end; cut++ {
		torn := before.Clone()
		torn.WriteFile(name, append(append([]byte(nil), full[:cut]...), old[cut:]...))
		j, rec := open(t, torn)
		want := journal.LSN(0)
		for i, e := range ends {
			if cut >= e {
				want = []journal.LSN{1, 2, 5, 6}[i]
			}
		}
		if rec.Last != want || len(rec.Damage) > 0 {
			t.Fatalf("cut at %d: last %d, want %d; %+v", cut, rec.Last, want, rec.Damage)
		}
		if _, err := j.Append([]journal.Record{{Kind: 1, Seq: 9, Body: []byte("after")}}); err != nil {
			t.Fatal(err)
		}
		if err := j.Sync(); err != nil {
			t.Fatal(err)
		}
		again, rec := open(t, torn.Kill())
		if rec.Last != want+1 || len(read(t, again, 1)) != int(want)+1 {
			t.Fatalf("cut at %d: after another record last %d, want %d", cut, rec.Last, want+1)
		}
	}
}

// A complete record of a torn group must not join up with new records of equal
// length.
func TestStaleRecordsDoNotJoinUp(t *testing.T) {
	t.Parallel()
	fs := journaltest.New()
	j, _ := open(t, fs)
	rec := func(text string) journal.Record { return journal.Record{Kind: 1, Body: []byte(text)} }
	if _, err := j.Append([]journal.Record{rec("a1")}); err != nil {
		t.Fatal(err)
	}
	if err := j.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append([]journal.Record{rec("x2"), rec("x3"), rec("x4")}); err != nil {
		t.Fatal(err)
	}
	torn := fs.Clone()
	torn.Flip(dir+"/00000000000000000001.log", 4096+42+41, 0) // in the second record: x3 and x4 are whole
	j, r := open(t, torn)
	if r.Last != 1 || len(r.Damage) != 0 || r.TornBytes == 0 {
		t.Fatalf("recovery %+v", r)
	}
	if _, err := j.Append([]journal.Record{rec("b2")}); err != nil {
		t.Fatal(err)
	}
	if err := j.Sync(); err != nil {
		t.Fatal(err)
	}
	j, r = open(t, torn.Kill())
	if r.Last != 2 {
		t.Fatalf("recovery %+v, want records 1 and 2", r)
	}
	if got := read(t, j, 1); string(got[1].Body) != "b2" {
		t.Errorf("records %v", got)
	}
}

// A flipped bit at every byte of a synced record in the middle costs exactly
// that record, is told, and the file is kept.
func TestFlippedBitIsCountedAndTheRestSurvives(t *testing.T) {
	t.Parallel()
	fs := journaltest.New()
	j, _ := open(t, fs)
	for i := range 6 {
		if _, err := j.Append([]journal.Record{{Kind: 1, Seq: uint64(i), Key: []byte("k"), Body: fmt.Appendf(nil, "record %d", i+1)}}); err != nil {
			t.Fatal(err)
		}
		if err := j.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	name := dir + "/00000000000000000001.log"
	const size = 40 + 1 + 8
	for at := int64(4096 + 2*size); at < 4096+3*size; at++ {
		hurt := fs.Clone()
		hurt.Flip(name, at, uint(at%8))
		j, rec := open(t, hurt)
		if len(rec.Damage) != 1 || rec.Damage[0].First != 3 || rec.Damage[0].Last != 3 || rec.Last != 6 {
			t.Fatalf("byte %d: recovery %+v", at, rec)
		}
		if hurt.ReadFile(rec.Damage[0].SetAside) == nil {
			t.Fatalf("byte %d: the damaged file was not kept", at)
		}
		got := read(t, j, 1)
		if len(got) != 6 || got[2].Kind != journal.KindLost || string(got[3].Body) != "record 4" || string(got[5].Body) != "record 6" {
			t.Fatalf("byte %d: records %+v", at, got)
		}
		if _, rec = open(t, hurt.Kill()); len(rec.Damage) != 0 || rec.Last != 6 {
			t.Fatalf("byte %d: second recovery %+v", at, rec)
		}
	}
}
