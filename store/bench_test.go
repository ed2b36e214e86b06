package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// BenchmarkPublish measures durable publishes of about 100 bytes from 1, 16 and
// 64 publishers, each beside a bare loop on the same file system that appends
// one padded block and calls fdatasync: the ratio is commits per second of the
// store to those of the loop. With many publishers one commit carries many
// events.
func BenchmarkPublish(b *testing.B) {
	for _, publishers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("publishers=%d", publishers), func(b *testing.B) {
			dir := benchDir(b)
			floor := appendFloor(b, dir)
			s, err := store.Open(store.Config{Dir: filepath.Join(dir, "data"), ReserveBytes: -1})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			data := []byte(`{"sensor":"outdoor","celsius":21.5,"humidity":40,"note":"a line of text as people write it","n":1}`)
			var left atomic.Int64
			b.ReportAllocs()
			left.Store(int64(b.N))
			b.ResetTimer()
			began := time.Now()
			finished := make(chan error, publishers)
			for range publishers {
				go func() {
					for left.Add(-1) >= 0 {
						_, err := s.Publish(ctx, picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "weather", Data: data}}})
						if err != nil {
							finished <- err
							return
						}
					}
					finished <- nil
				}()
			}
			for range publishers {
				if err := <-finished; err != nil {
					b.Fatal(err)
				}
			}
			took := time.Since(began)
			b.StopTimer()
			events, commits := float64(b.N)/took.Seconds(), float64(s.Stats().Commits)/took.Seconds()
			b.ReportMetric(events, "events/s")
			b.ReportMetric(commits, "commits/s")
			b.ReportMetric(floor, "floor/s")
			b.ReportMetric(commits/floor, "commits/floor")
			b.ReportMetric(events/floor, "events/floor")
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// benchDir is below PICLOUD_BENCH_DIR, so that a card can be measured instead
// of a temporary file system in memory.
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

// appendFloor returns how many padded appends with fdatasync a second the file
// system does, into a preallocated file.
func appendFloor(b *testing.B, dir string) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(make([]byte, 8<<20)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	record := make([]byte, 200)
	n, began := 0, time.Now()
	for at := int64(0); time.Since(began) < time.Second; n++ {
		if _, err := f.WriteAt(record, at%(8<<20-200)); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		at += int64(len(record))
	}
	return float64(n) / time.Since(began).Seconds()
}
