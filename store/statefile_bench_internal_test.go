package store

import (
	"bytes"
	"fmt"
	"testing"
)

// putEntries puts rows of 256 bytes, n of every step, from one on, into the tables of a
// store that does not run.
func putEntries(s *Store, from, n, step int) {
	changes := make([]change, 0, n)
	for i := range n {
		key := []byte(pair("default", fmt.Sprintf("key/%08d", from+i*step)))
		changes = append(changes, change{table: tableKV, key: key, value: bytes.Repeat([]byte{byte(i)}, 256)})
	}
	s.tables.put(changes)
}

// benchState opens a store of which state.db has so many rows of 256 bytes.
func benchState(b *testing.B, rows int) (Config, *Store) {
	b.Helper()
	cfg := Config{Dir: b.TempDir(), ReserveBytes: -1}
	s, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	const part = 20_000
	for from := 0; from < rows; from += part {
		putEntries(s, from, min(part, rows-from), 1)
		if err := s.checkpointNow(); err != nil {
			b.Fatal(err)
		}
	}
	return cfg, s
}

// BenchmarkCheckpoint measures a checkpoint of 10 000 rows that are spread over 100 000.
func BenchmarkCheckpoint(b *testing.B) {
	_, s := benchState(b, 100_000)
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		putEntries(s, n%10, 10_000, 10)
		b.StartTimer()
		if err := s.checkpointNow(); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpenState measures how long a node takes to open with a state.db of 4 and of
// 400 MB, none of which the kernel remembers.
func BenchmarkOpenState(b *testing.B) {
	for _, rows := range []int{6_000, 600_000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			cfg, s := benchState(b, rows)
			size := usedBytes(s.tables.db.DB)
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s, err := Open(cfg)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(size)/(1<<20), "MiB")
		})
	}
}
