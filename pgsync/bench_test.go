package pgsync_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/pgsync/pgtest"
	"github.com/picloud/picloud/store"
)

// benchNode opens a node with a large journal.
func benchNode(b *testing.B) *store.Store {
	b.Helper()
	st, err := store.Open(store.Config{
		Dir: filepath.Join(b.TempDir(), "data"), NodeName: "bench", ReserveBytes: -1, JournalBytes: 4 << 30, Readers: []string{picloud.Central},
		Retention: picloud.Retention{MaxEvents: 1 << 30, MaxBytes: 1 << 40},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- st.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	return st
}

// benchLane runs a lane until stop is called.
func benchLane(b *testing.B, st *store.Store, url string, taken func(upTo uint64)) (lane *dispatch.Lane, stop func()) {
	b.Helper()
	var c dispatch.Consumer = pgsync.New(pgsync.Config{URL: func() (string, error) { return url, nil }, Local: st, Place: "bench", Version: "bench", Migrate: true, Notify: true})
	if taken != nil {
		c = &noticing{c, taken}
	}
	lane = dispatch.New(dispatch.Config{Name: picloud.Central, Journal: st, Consumer: c})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lane.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(stop)
	return lane, stop
}

// noticing tells when records are in the tables.
type noticing struct {
	dispatch.Consumer
	taken func(upTo uint64)
}

func (n *noticing) Take(ctx context.Context, batch []picloud.Record, upTo uint64) error {
	err := n.Consumer.Take(ctx, batch, upTo)
	if err == nil {
		n.taken(upTo)
	}
	return err
}

var benchData = []byte(`{"temperature":20.5,"humidity":61,"text":"` + strings.Repeat("x", 150) + `"}`)

func benchPublish(b *testing.B, st *store.Store, n int) {
	b.Helper()
	p := picloud.Publication{App: "default", By: picloud.LocalOperator()}
	for range n {
		p.Drafts = append(p.Drafts, picloud.Draft{Topic: "weather", Data: benchData})
	}
	if _, err := st.Publish(context.Background(), p); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDrain measures how fast a backlog goes to a Postgres that fsyncs,
// beside a bare loop that inserts as many rows of the same kind into a table of
// the same kind by unnest, 500 at a time; and how much the heap grows meanwhile.
func BenchmarkDrain(b *testing.B) {
	for _, records := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			server := pgtest.Start(b)
			var floor, drain, grown float64
			for range b.N {
				floor += insertFloor(b, server.Database(b), records)
				url := server.Database(b)
				st := benchNode(b)
				for range records / 1000 {
					benchPublish(b, st, 1000)
				}
				var before, now runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				var most atomic.Uint64
				last, done := st.LastLSN(), make(chan struct{})
				var batches int
				began := time.Now()
				_, stop := benchLane(b, st, url, func(upTo uint64) {
					if batches++; batches%50 == 0 {
						runtime.ReadMemStats(&now)
						most.Store(max(most.Load(), now.HeapInuse))
					}
					if upTo >= last {
						close(done)
					}
				})
				<-done
				drain += float64(records) / time.Since(began).Seconds()
				stop()
				grown = max(grown, (float64(most.Load())-float64(before.HeapInuse))/(1<<20))
			}
			b.ReportMetric(drain/float64(b.N), "records/s")
			b.ReportMetric(drain/floor, "×floor")
			b.ReportMetric(grown, "heap-MiB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// insertFloor returns how many rows a second a loop inserts that does nothing
// else.
func insertFloor(b *testing.B, url string, records int) float64 {
	b.Helper()
	if _, err := pgsync.MigrateUp(b.Context(), urlOf(url)); err != nil {
		b.Fatal(err)
	}
	conn := pgtest.Connect(b, url)
	defer conn.Close(context.Background())
	const size = 500
	var lsn, seq, at []int64
	var app, topic, data, source []string
	for range size {
		lsn, seq, at = append(lsn, 0), append(seq, 0), append(at, time.Now().UnixMicro())
		app, topic, data, source = append(app, "default"), append(topic, "weather"), append(data, string(benchData)), append(source, "local")
	}
	began := time.Now()
	for done := 0; done < records; done += size {
		for i := range size {
			lsn[i], seq[i] = int64(done+i), int64(done+i)
		}
		_, err := conn.Exec(b.Context(), `INSERT INTO picloud.events (node_id, epoch, lsn, app, topic, seq, data, source, published_at)
			SELECT $1, $2, lsn, app, topic, seq, data::jsonb, source, timestamptz 'epoch' + at * interval '1 microsecond'
			FROM unnest($3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::bigint[]) AS e (lsn, app, topic, seq, data, source, at)`,
			"node", "epoch", lsn, app, topic, seq, data, source, at)
		if err != nil {
			b.Fatal(err)
		}
	}
	return float64(records) / time.Since(began).Seconds()
}

// BenchmarkCopyLatency measures, on an idle node, from the moment a publish is
// answered to the moment its row is committed in a Postgres that fsyncs.
func BenchmarkCopyLatency(b *testing.B) {
	server := pgtest.Start(b)
	st := benchNode(b)
	taken := make(chan uint64, 16)
	lane, _ := benchLane(b, st, server.Database(b), func(upTo uint64) { taken <- upTo })
	benchPublish(b, st, 1)
	for lane.Status().State != dispatch.StateIdle {
		<-taken
	}
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	for i := range took {
		benchPublish(b, st, 1)
		answered, last := time.Now(), st.LastLSN()
		for <-taken < last {
		}
		took[i] = time.Since(answered)
	}
	reportQuantiles(b, took)
}

// BenchmarkClusterLatency measures from publishing on one idle node to the hub
// of another.
func BenchmarkClusterLatency(b *testing.B) {
	server := pgtest.Start(b)
	url := server.Database(b)
	far, near := benchNode(b), benchNode(b)
	benchLane(b, far, url, nil)
	lane, _ := benchLane(b, near, url, nil)
	for lane.Status().State != dispatch.StateIdle {
		<-time.After(time.Millisecond)
	}
	heard := make(chan time.Time, 16)
	c := pgsync.NewCluster(pgsync.Config{URL: func() (string, error) { return url, nil }, Local: near}, relayFunc(func(events []picloud.Event) {
		for range events {
			heard <- time.Now()
		}
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		<-done
	})
	<-time.After(time.Second)
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	for i := range took {
		<-time.After(15 * time.Millisecond) // looks that follow each other closely are put together
		began := time.Now()
		benchPublish(b, far, 1)
		took[i] = (<-heard).Sub(began)
	}
	reportQuantiles(b, took)
}

type relayFunc func([]picloud.Event)

func (f relayFunc) Relay(events []picloud.Event) {
	if len(events) > 0 {
		f(events)
	}
}

func (relayFunc) Listened() (apps, topics []string) { return []string{"default"}, []string{"weather"} }

func reportQuantiles(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) }
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
}

// BenchmarkPublishBeside measures publishing while the copy is not configured,
// while Postgres is dead, while it answers slowly with a backlog waiting, and
// while it drains one at full speed.
func BenchmarkPublishBeside(b *testing.B) {
	server := pgtest.Start(b)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	_ = dead.Close()
	for _, c := range []struct {
		name    string
		url     func(b *testing.B) string
		backlog int
	}{
		{"absent", func(*testing.B) string { return "" }, 100_000},
		{"dead", func(*testing.B) string { return "postgres://x@" + dead.Addr().String() + "/x?sslmode=disable" }, 100_000},
		{"slow", func(b *testing.B) string { //nolint:thelper // not a helper
			url := server.Database(b)
			return strings.Replace(url, server.Address(), slowly(b, server.Address(), 50*time.Millisecond), 1)
		}, 100_000},
		{"draining", func(b *testing.B) string { return server.Database(b) }, 1_000_000}, //nolint:thelper // as above
	} {
		b.Run(c.name, func(b *testing.B) {
			st := benchNode(b)
			for range c.backlog / 1000 {
				benchPublish(b, st, 1000)
			}
			if url := c.url(b); url != "" {
				benchLane(b, st, url, nil)
				<-time.After(500 * time.Millisecond)
			}
			took := make([]time.Duration, b.N)
			b.ResetTimer()
			for i := range took {
				began := time.Now()
				benchPublish(b, st, 1)
				took[i] = time.Since(began)
			}
			reportQuantiles(b, took)
		})
	}
}

// slowly passes bytes on, each read a while later.
func slowly(b *testing.B, to string, delay time.Duration) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			pass := func(to, from net.Conn) {
				defer to.Close()
				buf := make([]byte, 16<<10)
				for {
					n, err := from.Read(buf)
					if err != nil {
						return
					}
					<-time.After(delay)
					if _, err := to.Write(buf[:n]); err != nil {
						return
					}
				}
			}
			go pass(s, c)
			go pass(c, s)
		}
	}()
	return ln.Addr().String()
}
