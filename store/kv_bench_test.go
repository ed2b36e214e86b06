package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// BenchmarkSetEntry measures keys that are set durably, beside events of the
// same size that are published to the same store in the same run.
func BenchmarkSetEntry(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			st := benchStore(b)
			data := []byte(`"` + strings.Repeat("x", 254) + `"`)
			publish := func(int64) error {
				_, err := st.Publish(context.Background(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "weather", Data: data}}})
				return err
			}
			set := func(i int64) error {
				_, err := st.SetEntry(context.Background(), picloud.EntryChange{App: "default", Key: fmt.Sprint("key/", i%1000), Value: data})
				return err
			}
			b.ReportAllocs()
			var setting, publishing time.Duration
			const slice = 200 // of each in turns, so that both meet the same disk
			for done := 0; done < b.N; done += slice {
				publishing += together(b, writers, slice, publish)
				setting += together(b, writers, slice, set)
			}
			b.ReportMetric(setting.Seconds()/publishing.Seconds(), "×publish")
			b.ReportMetric(float64(slice*((b.N+slice-1)/slice))/setting.Seconds(), "sets/s")
		})
	}
}

// together does something n times, by so many at once.
func together(b *testing.B, workers int, n int64, do func(i int64) error) time.Duration {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range workers {
		wg.Go(func() {
			for i := next.Add(1); i <= n; i = next.Add(1) {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// BenchmarkEntries measures reading a key, and a page of 100, of 100 000 keys
// that lie in state.db and of as many that lie in memory over it.
func BenchmarkEntries(b *testing.B) {
	const keys = 100_000
	st := benchStore(b)
	together(b, 64, keys, func(i int64) error {
		_, err := st.SetEntry(context.Background(), picloud.EntryChange{App: "default", Key: fmt.Sprintf("key/%06d", i), Value: []byte(`{"on":true}`)})
		return err
	})
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := st.Entry("default", fmt.Sprintf("key/%06d", 1+rand.N(keys))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("page of 100", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			page, err := st.Entries(picloud.EntryList{App: "default", After: fmt.Sprintf("key/%06d", 1+rand.N(keys-200)), Limit: 100})
			if err != nil || len(page.Entries) != 100 {
				b.Fatal(len(page.Entries), err)
			}
		}
	})
}

// BenchmarkOpen measures how long a node takes to open with 100 000 keys of 256
// bytes, none of which the kernel remembers.
func BenchmarkOpen(b *testing.B) {
	cfg := store.Config{Dir: b.TempDir(), ReserveBytes: -1}
	st, stop := runStore(b, cfg)
	together(b, 64, 100_000, func(i int64) error {
		_, err := st.SetEntry(context.Background(), picloud.EntryChange{App: "default", Key: fmt.Sprint("key/", i), Value: []byte(`"` + strings.Repeat("x", 254) + `"`)})
		return err
	})
	stop()
	for b.Loop() {
		st, err := store.Open(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func benchStore(b *testing.B) *store.Store {
	b.Helper()
	st, stop := runStore(b, store.Config{Dir: b.TempDir(), ReserveBytes: -1})
	b.Cleanup(stop)
	return st
}

// runStore opens a store and runs it until stop is called.
func runStore(b *testing.B, cfg store.Config) (st *store.Store, stop func()) {
	b.Helper()
	st, err := store.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- st.Run(ctx) }()
	return st, func() {
		cancel()
		if err := errors.Join(<-done, st.Close()); err != nil {
			b.Error(err)
		}
	}
}
