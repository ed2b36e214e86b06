package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// readBolt returns the rows of a file as a pageWalk reads them.
func readBolt(b []byte, fault func(error) error) (rows map[string]string, err error) {
	rows = map[string]string{}
	f, err := openPages(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	w := pageWalk{f: f, fault: fault, row: func(bucket string, key, value []byte) error {
		rows[bucket+"\x00"+string(key)] = string(value)
		return nil
	}}
	return rows, w.walk()
}

// DM-3: whatever bbolt writes passes the check, and is read as it was written: buckets
// within a page, large keys and values, many deletions, holes.
func TestPagesThatBboltWritesPass(t *testing.T) {
	t.Parallel()
	commits := 40
	if testing.Short() {
		commits = 12
	}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 3)) // #nosec G404 -- a test
			name := filepath.Join(t.TempDir(), "x.db")
			db, err := openBolt(name, false, checkPages)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			db.NoSync = true
			want := map[string]string{}
			for n := range commits {
				if err := db.Update(func(tx *bbolt.Tx) error { return someChanges(tx, rng, want) }); err != nil {
					t.Fatal(err)
				}
				if n%10 == 9 {
					if _, err := shrink(db); err != nil && !errors.Is(err, errors.ErrUnsupported) {
						t.Fatal(err)
					}
				}
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				got, err := readBolt(b, strictly)
				if err != nil || !maps.Equal(got, want) {
					t.Fatalf("commit %d: %v; %d rows of %d", n, err, len(got), len(want))
				}
				var copied bytes.Buffer
				if err := db.View(func(tx *bbolt.Tx) error { _, err := tx.WriteTo(&copied); return err }); err != nil {
					t.Fatal(err)
				}
				if got, err := readBolt(copied.Bytes(), strictly); err != nil || !maps.Equal(got, want) {
					t.Fatalf("copy after commit %d: %v; %d rows of %d", n, err, len(got), len(want))
				}
			}
		})
	}
}

// someChanges puts and deletes rows, and keeps what is left in want.
func someChanges(tx *bbolt.Tx, rng *rand.Rand, want map[string]string) error {
	bucket := []string{"meta", "rows", "few"}[rng.IntN(3)]
	b, err := tx.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return err
	}
	most := map[string]int{"meta": 3, "rows": 3000, "few": 100}[bucket]
	large := rng.IntN(10) == 0
	for range rng.IntN(most) + 1 {
		key := fmt.Sprintf("%05d", rng.IntN(most*2))
		if rng.IntN(20) == 0 {
			key += string(bytes.Repeat([]byte{'k'}, rng.IntN(2000)))
		}
		value := string(bytes.Repeat([]byte{'v'}, rng.IntN(150)))
		if large && rng.IntN(100) == 0 {
			value = string(bytes.Repeat([]byte{'V'}, rng.IntN(300_000)))
		}
		want[bucket+"\x00"+key] = value
		if err := b.Put([]byte(key), []byte(value)); err != nil {
			return err
		}
	}
	if rng.IntN(3) > 0 {
		return nil
	}
	from, to := fmt.Sprintf("%05d", rng.IntN(most*2)), fmt.Sprintf("%05d", rng.IntN(most*3))
	c := b.Cursor()
	for k, _ := c.Seek([]byte(from)); k != nil && string(k) < to; k, _ = c.Seek([]byte(from)) {
		delete(want, bucket+"\x00"+string(k))
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// DM-3: whatever is in a file, reading its pages ends, without a panic; and what passes,
// bbolt reads in the same way, without one.
func FuzzPages(f *testing.F) {
	base := smallBolt(f)
	f.Add(uint32(0), []byte{}, uint32(0), []byte{})
	f.Add(uint32(3*4096), []byte{3, 0, 0, 0, 0, 0, 0, 0, 1}, uint32(4096*4+8), []byte{0xff, 0xff})
	f.Add(uint32(4096+16+16), []byte{9}, uint32(2*4096+10), []byte{0, 0})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, at2 uint32, patch2 []byte) {
		b := bytes.Clone(base)
		copy(b[at%uint32(len(b)):], patch)
		copy(b[at2%uint32(len(b)):], patch2)
		for meta := 16; meta <= 4096+16; meta += 4096 { // the sums are right, whatever they are of; nothing but tx.Check reads the heads
			copy(b[meta-16:meta], base[meta-16:])
			sum := fnv.New64a()
			_, _ = sum.Write(b[meta : meta+56])
			binary.LittleEndian.PutUint64(b[meta+56:], sum.Sum64())
		}
		_, _ = readBolt(b, func(error) error { return nil })
		rows, err := readBolt(b, strictly)
		if err != nil {
			return
		}
		name := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := openBolt(name, false, checkPages)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		got := map[string]string{}
		err = db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				return err
			}
			return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
				return bucket.ForEach(func(k, v []byte) error {
					got[string(name)+"\x00"+string(k)] = string(v)
					return nil
				})
			})
		})
		if err != nil || !maps.Equal(rows, got) {
			t.Errorf("%v; bbolt reads %d rows, the walk %d", err, len(got), len(rows))
		}
	})
}

// smallBolt is a file of bbolt with a branch, a large row, a bucket within a page, and
// free pages.
func smallBolt(f *testing.F) []byte {
	f.Helper()
	name := filepath.Join(f.TempDir(), "x.db")
	db, err := openBolt(name, false, checkPages)
	if err != nil {
		f.Fatal(err)
	}
	for range 2 {
		err = errors.Join(err, db.Update(func(tx *bbolt.Tx) error {
			meta, err := tx.CreateBucketIfNotExists([]byte("meta"))
			if err != nil {
				return err
			}
			rows, err := tx.CreateBucketIfNotExists([]byte("rows"))
			for i := range 120 {
				err = errors.Join(err, rows.Put(fmt.Appendf(nil, "%03d", i), bytes.Repeat([]byte{'v'}, 60)))
			}
			return errors.Join(err, meta.Put([]byte("k"), []byte("v")), rows.Put([]byte("large"), make([]byte, 6000)))
		}))
	}
	pages := 0
	err = errors.Join(err, db.View(func(tx *bbolt.Tx) error { pages = int(tx.Size() / 4096); return nil }), db.Close())
	b, rerr := os.ReadFile(name)
	if err := errors.Join(err, rerr); err != nil {
		f.Fatal(err)
	}
	return b[:pages*4096]
}
