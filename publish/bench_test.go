package publish_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/publish"
	"github.com/picloud/picloud/store"
)

// BenchmarkDurable measures publishes of 256 bytes at the one door in, each
// acknowledged after its fsync, beside a bare loop on the same file system that
// appends as much and calls fdatasync: events a second, how long one takes, and
// bytes to the disk for each.
func BenchmarkDurable(b *testing.B) {
	for _, publishers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("publishers=%d", publishers), func(b *testing.B) {
			dir := benchDir(b)
			floor, floorBytes := appendFloor(b, dir)
			st, err := store.Open(store.Config{Dir: filepath.Join(dir, "data"), ReserveBytes: -1})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- st.Run(ctx) }()
			service := publish.New(publish.Config{Committer: st})
			p := picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "weather", Data: []byte(`"` + strings.Repeat("x", 254) + `"`)}}}
			for range 100 { // warm: the next segment is ready
				if _, err := service.Publish(ctx, p); err != nil {
					b.Fatal(err)
				}
			}
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			written, commits := writtenBytes(b, dir), st.Stats().Commits
			b.ResetTimer()
			began := time.Now()
			for range publishers {
				wg.Go(func() {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						start := time.Now()
						if _, err := service.Publish(ctx, p); err != nil {
							b.Error(err)
							return
						}
						took[i] = time.Since(start)
					}
				})
			}
			wg.Wait()
			seconds := time.Since(began).Seconds()
			b.StopTimer()
			bytes := float64(writtenBytes(b, dir)-written) / float64(b.N)
			slices.Sort(took)
			at := func(q float64) float64 { return float64(took[int(q*float64(b.N-1))].Microseconds()) }
			b.ReportMetric(float64(b.N)/seconds, "events/s")
			b.ReportMetric(float64(b.N)/seconds/floor, "×floor")
			b.ReportMetric(float64(st.Stats().Commits-commits)/seconds/floor, "commits/floor")
			b.ReportMetric(at(0.5), "p50-µs")
			b.ReportMetric(at(0.99), "p99-µs")
			b.ReportMetric(bytes, "disk-B/event")
			b.ReportMetric(bytes/floorBytes, "disk/floor")
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			if err := st.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// benchDir is below PICLOUD_BENCH_DIR, so that a card can be measured.
func benchDir(b *testing.B) string {
	b.Helper()
	root := os.Getenv("PICLOUD_BENCH_DIR")
	if root == "" {
		return b.TempDir()
	}
	dir, err := os.MkdirTemp(root, "picloud-bench-") //nolint:usetesting // on the disk that is asked for
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// appendFloor returns how many appends with fdatasync a second the file system
// does, into a preallocated file, and what one costs the disk.
func appendFloor(b *testing.B, dir string) (perSecond, bytes float64) {
	b.Helper()
	const size = 8 << 20
	f, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(make([]byte, size)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	record := make([]byte, 320)
	before := writtenBytes(b, dir)
	n, began := 0, time.Now()
	for at := int64(0); time.Since(began) < time.Second; n++ {
		if _, err := f.WriteAt(record, at); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		at = (at + int64(len(record))) % (size - int64(len(record)))
	}
	return float64(n) / time.Since(began).Seconds(), float64(writtenBytes(b, dir)-before) / float64(n)
}

// writtenBytes returns what has been written to the disk below dir, by anybody:
// nothing else should run.
func writtenBytes(b *testing.B, dir string) int64 {
	b.Helper()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return 0 // no disk of its own
	}
	fields := strings.Fields(string(text))
	sectors, err := strconv.ParseInt(fields[6], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return sectors * 512
}
