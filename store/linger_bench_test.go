package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
	"github.com/picloud/picloud/store"
)

// slowDisk is the real file system on a disk that takes a fixed time for each
// fdatasync, which it measures: a sleep takes longer than it was told.
type slowDisk struct {
	journal.OS

	sync  time.Duration
	syncs atomic.Int64
	took  atomic.Int64 // nanoseconds
}

type slowFile struct {
	journal.File

	disk *slowDisk
}

func (d *slowDisk) Create(name string) (journal.File, error) { return d.slow(d.OS.Create(name)) }
func (d *slowDisk) Open(name string) (journal.File, error)   { return d.slow(d.OS.Open(name)) }

func (d *slowDisk) slow(f journal.File, err error) (journal.File, error) {
	if err != nil {
		return nil, err
	}
	return slowFile{f, d}, nil
}

func (f slowFile) Datasync() error {
	began := time.Now()
	ts := unix.NsecToTimespec(int64(f.disk.sync))
	_ = unix.Nanosleep(&ts, nil) // holds its thread, as fdatasync does; one that a signal ends was shorter, and is measured
	f.disk.syncs.Add(1)
	f.disk.took.Add(int64(time.Since(began)))
	return nil
}

// BenchmarkLinger measures publishers that each wait for their answer before they
// publish again, on disks of which an fdatasync takes from 0.1 to 30 ms. The best
// there can be is one event of each publisher in each commit: "%best" compares with
// publishers ÷ mean time of an fdatasync. One op is one event.
func BenchmarkLinger(b *testing.B) {
	for _, fsync := range []time.Duration{100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond} {
		for _, publishers := range []int{1, 2, 16, 64, 256} {
			b.Run(fmt.Sprintf("fsync=%v/publishers=%d", fsync, publishers), func(b *testing.B) {
				disk := &slowDisk{sync: fsync}
				st, stop := runStore(b, store.Config{Dir: b.TempDir(), ReserveBytes: -1, JournalFS: disk})
				defer stop()
				publishClosed(b, st, publishers, int64(20*publishers)) // until the committer knows the disk
				disk.syncs.Store(0)
				disk.took.Store(0)
				b.ResetTimer()
				waits := publishClosed(b, st, publishers, int64(b.N))
				rate := float64(b.N) / b.Elapsed().Seconds()
				mean := time.Duration(disk.took.Load() / disk.syncs.Load())
				b.ReportMetric(rate, "events/s")
				b.ReportMetric(100*rate*mean.Seconds()/float64(publishers), "%best")
				b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "p99-ms")
			})
		}
	}
}

// publishClosed publishes n events by so many publishers, and returns how long each
// took, sorted.
func publishClosed(b *testing.B, st *store.Store, publishers int, n int64) []time.Duration {
	b.Helper()
	waits := make([]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for i := next.Add(1); i <= n; i = next.Add(1) {
				began := time.Now()
				_, err := st.Publish(context.Background(), picloud.Publication{
					App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "weather", Data: []byte(`{"temperature":21.5}`)}},
				})
				if err != nil {
					b.Error(err)
					return
				}
				waits[i-1] = time.Since(began)
			}
		})
	}
	wg.Wait()
	slices.Sort(waits)
	return waits
}
