package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/journal"
)

// BenchmarkAppendSync measures a group of events of 300 bytes made durable,
// beside what the disk does with the same bytes alone. The ratio is what the
// journal costs.
func BenchmarkAppendSync(b *testing.B) {
	for _, n := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("group=%d", n), func(b *testing.B) {
			at := b.TempDir()
			j, _, err := journal.Open(journal.Config{Dir: at})
			if err != nil {
				b.Fatal(err)
			}
			recs := make([]journal.Record, n)
			for i := range recs {
				recs[i] = journal.Record{Kind: 1, Key: []byte("app\x00topic"), Body: make([]byte, 300)}
			}
			raw, err := os.Create(filepath.Join(at, "raw"))
			if err != nil {
				b.Fatal(err)
			}
			block := make([]byte, n*(40+9+300))
			const size = 8 << 20
			if _, err := raw.WriteAt(make([]byte, size), 0); err != nil {
				b.Fatal(err)
			}
			if err := raw.Sync(); err != nil {
				b.Fatal(err)
			}
			var bare time.Duration
			off := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				for i := range recs {
					recs[i].Seq++
				}
				if _, err := j.Append(recs); err != nil {
					b.Fatal(err)
				}
				if err := j.Sync(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if off+int64(len(block)) > size {
					off = 0
				}
				start := time.Now()
				if _, err := raw.WriteAt(block, off); err != nil {
					b.Fatal(err)
				}
				if err := unix.Fdatasync(int(raw.Fd())); err != nil {
					b.Fatal(err)
				}
				bare += time.Since(start)
				off += int64(len(block))
				if last := j.Synced(); last%4096 < journal.LSN(n) {
					_ = j.Drop(last) // keeps the disk small
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed())/float64(bare), "×bare")
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "records/s")
			_ = raw.Close()
			_ = j.Close()
		})
	}
}

// BenchmarkAppend measures what Append itself costs, and that it allocates
// nothing but the index's growth.
func BenchmarkAppend(b *testing.B) {
	j, _, err := journal.Open(journal.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	recs := make([]journal.Record, 16)
	for i := range recs {
		recs[i] = journal.Record{Kind: 1, Key: []byte("app\x00topic"), Body: make([]byte, 300)}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.Append(recs); err != nil {
			b.Fatal(err)
		}
		_ = j.Drop(j.Synced())
	}
	_ = j.Close()
}

// BenchmarkRecovery opens a journal of 100 MB, scanned and with footers.
func BenchmarkRecovery(b *testing.B) {
	at := b.TempDir()
	j, _, err := journal.Open(journal.Config{Dir: at})
	if err != nil {
		b.Fatal(err)
	}
	recs := make([]journal.Record, 100)
	for j.SizeOnDisk() < 100<<20 {
		for i := range recs {
			recs[i] = journal.Record{Kind: 1, Key: fmt.Appendf(nil, "topic-%d", i%20), Body: make([]byte, 300)}
		}
		if _, err := j.Append(recs); err != nil {
			b.Fatal(err)
		}
	}
	last := j.Written()
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	for name, from := range map[string]journal.LSN{"scan": 0, "footers": last + 1} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				j, _, err := journal.Open(journal.Config{Dir: at, ScanFrom: from})
				if err != nil {
					b.Fatal(err)
				}
				_ = j.Close()
			}
		})
	}
}
