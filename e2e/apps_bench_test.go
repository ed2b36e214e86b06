package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/script"
	"github.com/picloud/picloud/sdk"
	"github.com/picloud/picloud/store"
)

// apps is what runs scripts on a node, joined as the daemon does it, with workers of
// the real binary.
type apps struct {
	*store.Store
	runner     *script.Runner
	dispatcher *dispatch.Dispatcher
	called     atomic.Pointer[func()] // when a script calls the SDK
}

func (a *apps) Module(app, name string) (picloud.Script, error) { return a.Script(app, name) }

func (a *apps) Call(context.Context, picloud.ScriptCall) (json.RawMessage, error) {
	if fn := a.called.Load(); fn != nil {
		(*fn)()
	}
	return json.RawMessage("1"), nil
}

func (a *apps) Handle(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error {
	in, err := json.Marshal(sdk.Input(&d))
	if err != nil {
		return err
	}
	also, err := json.Marshal(sdk.Context(&t, &d))
	if err != nil {
		return err
	}
	_, err = a.runner.Do(ctx, script.Job{App: t.App, Script: t.Script, Input: in, Context: also})
	return err
}

func newApps(b *testing.B, source string) *apps {
	b.Helper()
	st, err := store.Open(store.Config{Dir: b.TempDir(), ReserveBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	a := &apps{Store: st}
	a.runner = script.New(script.Config{Host: a, Workers: 4, Executable: binary, Record: func(r picloud.Run) string { return st.RecordRun(r).ID }})
	a.dispatcher = dispatch.NewDispatcher(dispatch.DispatcherConfig{Outbox: st, Handler: a})
	st.SetDeliverer(a.dispatcher)
	ctx, cancel := context.WithCancel(context.Background())
	stored, ended := make(chan error, 1), make(chan error, 2)
	storeCtx, stopStore := context.WithCancel(context.Background())
	go func() { stored <- st.Run(storeCtx) }()
	go func() { ended <- a.dispatcher.Run(ctx) }()
	go func() { ended <- a.runner.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		err := errors.Join(<-ended, <-ended)
		stopStore()
		if err := errors.Join(err, <-stored, st.Close()); err != nil {
			b.Error(err)
		}
	})
	if _, err := st.SaveScript(b.Context(), picloud.Script{App: "default", Name: "s", Source: source}, picloud.Precondition{}); err != nil {
		b.Fatal(err)
	}
	return a
}

func (a *apps) trigger(b *testing.B) picloud.Trigger {
	b.Helper()
	t, err := a.SaveTrigger(b.Context(), picloud.Trigger{App: "default", Name: "t", Kind: picloud.TriggerPubSub, Topic: "t", Script: "s", Concurrency: 3, Enabled: true})
	if err != nil {
		b.Fatal(err)
	}
	return t
}

// publish publishes n events, many at a time.
func (a *apps) publish(b *testing.B, n int) {
	b.Helper()
	for n > 0 {
		k := min(n, 500)
		n -= k
		p := picloud.Publication{App: "default", By: picloud.LocalOperator()}
		for range k {
			p.Drafts = append(p.Drafts, picloud.Draft{Topic: "t", Data: []byte(`{"degrees":21.5,"sensor":"attic"}`)})
		}
		if _, err := a.Store.Publish(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
}

// done waits until a trigger has done so much.
func (a *apps) done(b *testing.B, t picloud.Trigger, n uint64) {
	b.Helper()
	for {
		if st, _ := a.dispatcher.Status(t.ID); st.Done >= n {
			return
		}
		pause(b.Context(), time.Millisecond)
	}
}

// BenchmarkTrigger measures events that make a handler run which does nothing, from
// being published until it is noted that they are done. The floor, in the same run,
// are the same runs without events, journal or outbox.
func BenchmarkTrigger(b *testing.B) {
	a := newApps(b, `export default () => {}`)
	t := a.trigger(b)
	bare := func(n int) {
		var next atomic.Int64
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				for next.Add(1) <= int64(n) {
					if _, err := a.runner.Do(b.Context(), script.Job{App: "default", Script: "s"}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
	}
	bare(500) // the workers are warm
	var floor, took time.Duration
	total := uint64(0)
	for left := b.N; left > 0; left -= 1000 {
		n := min(left, 1000)
		began := time.Now()
		bare(n)
		floor += time.Since(began)
		began = time.Now()
		a.publish(b, n)
		total += uint64(n)
		a.done(b, t, total)
		took += time.Since(began)
	}
	b.ReportMetric(float64(b.N)/took.Seconds(), "handlers/s")
	b.ReportMetric(float64(b.N)/floor.Seconds(), "bare-runs/s")
	b.ReportMetric(took.Seconds()/floor.Seconds(), "×bare")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkTriggerLatency measures, on a node with nothing else to do, from asking
// for an event to be published until its handler makes its first call.
func BenchmarkTriggerLatency(b *testing.B) {
	a := newApps(b, `import { kv } from "picloud"; export default () => kv.get("x")`)
	t := a.trigger(b)
	started := make(chan time.Time, 1)
	fn := func() { started <- time.Now() }
	a.called.Store(&fn)
	var took []time.Duration
	for i := range b.N {
		pause(b.Context(), 5*time.Millisecond)
		began := time.Now()
		a.publish(b, 1)
		took = append(took, (<-started).Sub(began))
		a.done(b, t, uint64(i+1))
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) }
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkBurst lets a trigger owe 100 000 deliveries and then do them, and tells
// how much memory that takes.
func BenchmarkBurst(b *testing.B) {
	a := newApps(b, `export default () => {}`)
	const burst = 100_000
	t := a.trigger(b)
	for i := range b.N {
		before := heap()
		began := time.Now()
		a.publish(b, burst)
		b.ReportMetric(burst/time.Since(began).Seconds(), "owed/s")
		b.ReportMetric(heap()-before, "MiB-owed")
		began = time.Now()
		highest := 0.0
		for st, _ := a.dispatcher.Status(t.ID); st.Done < uint64(burst*(i+1)); st, _ = a.dispatcher.Status(t.ID) {
			pause(b.Context(), 500*time.Millisecond)
			highest = max(highest, heap()-before)
		}
		b.ReportMetric(burst/time.Since(began).Seconds(), "done/s")
		b.ReportMetric(highest, "MiB-highest")
	}
	b.ReportMetric(0, "ns/op")
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// BenchmarkFind measures finding ten of 100 000 documents by an index, and what the
// documents cost in memory. The floor, in the same run, is reading ten by their ids.
func BenchmarkFind(b *testing.B) {
	a := newApps(b, "//")
	const n = 100_000
	before := heap()
	if _, err := a.SaveCollection(b.Context(), picloud.Collection{App: "default", Name: "c", Indexes: []string{"group"}}); err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for i := next.Add(1); i <= n; i = next.Add(1) {
				if _, err := a.PutDocument(b.Context(), picloud.DocumentChange{
					App: "default", Collection: "c", ID: fmt.Sprint(i), Body: fmt.Appendf(nil, `{"group":%d,"name":"document %d","tags":["a","b"],"nested":{"x":1}}`, i%(n/10), i),
				}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	used := heap() - before
	var took, floor time.Duration
	for i := range b.N {
		began := time.Now()
		page, err := a.FindDocuments(picloud.DocumentQuery{App: "default", Collection: "c", Where: []picloud.Condition{{Field: "group", Op: picloud.OpEqual, Value: float64(i % (n / 10))}}})
		if err != nil || len(page.Documents) != 10 {
			b.Fatalf("%d documents, %v", len(page.Documents), err)
		}
		took += time.Since(began)
		began = time.Now()
		for k := range 10 {
			if _, err := a.Document("default", "c", fmt.Sprint(1+(i*10+k)%n)); err != nil {
				b.Fatal(err)
			}
		}
		floor += time.Since(began)
	}
	b.ReportMetric(float64(took.Microseconds())/float64(b.N), "µs/find")
	b.ReportMetric(took.Seconds()/floor.Seconds(), "×by-id")
	b.ReportMetric(used, "MiB-heap")
	b.ReportMetric(0, "ns/op")
}
