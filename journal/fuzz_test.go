package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A record comes back as it was encoded, and arbitrary bytes never panic.
func FuzzRecord(f *testing.F) {
	f.Add(uint64(1), uint8(1), false, uint64(2), int64(3), []byte("key"), []byte("body"), []byte{})
	f.Add(uint64(1<<63), uint8(255), true, uint64(1<<63), int64(-1), []byte{}, []byte{}, make([]byte, 64))
	f.Fuzz(func(t *testing.T, lsn uint64, kind uint8, more bool, seq uint64, at int64, key, body, junk []byte) {
		if len(key) > MaxKey || len(body) > MaxGroup/2 {
			return
		}
		const id = 77
		want := Record{LSN: LSN(lsn), Kind: kind, More: more, Seq: seq, At: at, Key: key, Body: body}
		b := appendRecord(nil, id, &want, more, 5)
		h, ok := parseHead(b)
		if !ok || h.length != len(b) || !checkSum(id, b, &h) || h.unsynced != 5 || h.continued != more {
			t.Fatalf("head %+v of %+v", h, want)
		}
		got := h.record(b)
		if got.LSN != want.LSN || got.Kind != kind || got.More != more || got.Seq != seq || got.At != at || !bytes.Equal(got.Key, key) || !bytes.Equal(got.Body, body) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		if checkSum(id+1, b, &h) {
			t.Fatal("another journal takes the record for its own")
		}
		if h, ok := parseHead(junk); ok && (h.length > len(junk) || h.keyLen > MaxKey) {
			t.Fatalf("head %+v of %d bytes", h, len(junk))
		}
	})
}

// Arbitrary bytes where a segment should be never panic, and never keep the
// journal from opening, appending and reading back. Only a newer format does.
func FuzzOpen(f *testing.F) {
	at := f.TempDir()
	j, _, err := Open(Config{Dir: at, SegmentSize: minSegmentSize})
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		if _, err := j.Append([]Record{{Kind: 1, Seq: uint64(i), Key: []byte("k"), Body: []byte("body"), More: true}, {Kind: 1}}); err != nil { // #nosec G115 -- small
			f.Fatal(err)
		}
		if err := j.Sync(); err != nil {
			f.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(at, segmentName(1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:dataStart+300], []byte{}, true)
	f.Add(b[:dataStart+130], b[:dataStart], true)
	f.Add([]byte{}, []byte("x"), false)
	f.Add(b[:100], bytes.Repeat([]byte{0, 0, 0, 0, 200}, 2000), false)
	keys := map[string]*keyIndex{"k": {span: Span{Segment: 1, Count: 1}, entries: []Entry{{LSN: 1, offset: dataStart}}}}
	footer, _, _ := (&segment{base: 1, size: 8192}).footer(keys, 1, dataStart+45)
	f.Add(append(append(b[:dataStart+45:dataStart+45], make([]byte, 8192-dataStart-45-len(footer))...), footer...), []byte("next"), true)
	f.Fuzz(func(t *testing.T, first, second []byte, two bool) {
		if len(first) > 1<<20 || len(second) > 1<<20 {
			return
		}
		at := filepath.Join(t.TempDir(), "journal")
		fs := NewOverlay() // nothing reaches the disk
		files := map[LSN][]byte{1: first}
		if two {
			files[3] = second
		}
		for base, b := range files {
			file, err := fs.Create(filepath.Join(at, segmentName(base)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.WriteAt(b, 0); err != nil {
				t.Fatal(err)
			}
		}
		for round := range 2 {
			j, rec, err := Open(Config{Dir: at, FS: fs, SegmentSize: minSegmentSize, ScanFrom: 3})
			if err != nil {
				if bytes.Contains([]byte(err.Error()), []byte("format")) {
					return
				}
				t.Fatal(err)
			}
			if round > 0 && len(rec.Damage) > 0 {
				t.Fatalf("the second recovery found %+v", rec.Damage)
			}
			lsn, err := j.Append([]Record{{Kind: 9, Key: []byte("new"), Body: []byte("new")}})
			if err != nil || lsn != rec.Last+1 {
				t.Fatalf("append %d after %d: %v", lsn, rec.Last, err)
			}
			if err := j.Sync(); err != nil {
				t.Fatal(err)
			}
			readBack(t, j, rec, lsn)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// readBack reads everything, by order and by index.
func readBack(t *testing.T, j *Journal, rec Recovery, last LSN) {
	t.Helper()
	from := rec.First
	if from == 0 {
		from = last
	}
	r, err := j.NewReader(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for {
		got, err := r.Next()
		if err != nil {
			t.Fatalf("read from %d to %d: %v", from, last, err)
		}
		if got.LSN == last {
			break
		}
	}
	j.Keys(func(key []byte, spans []Span) bool {
		for _, sp := range spans {
			entries, err := j.Entries(key, sp.Segment)
			if err != nil {
				continue // it says so
			}
			for _, e := range entries {
				_, _ = j.Read(e, nil) // must not panic
			}
		}
		return true
	})
}
