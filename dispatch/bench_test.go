package dispatch_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/store"
)

// doneAt says when a number of deliveries are done.
type doneAt struct {
	left int
	end  chan struct{}
}

func (d *doneAt) Handle(context.Context, picloud.Trigger, picloud.Delivery) error {
	if d.left--; d.left == 0 {
		d.end <- struct{}{}
	}
	return nil
}

// BenchmarkDeliver publishes batches of 500 events that match a trigger, whose handler
// does nothing: from publishing the first to the handler of the last.
func BenchmarkDeliver(b *testing.B) {
	st := benchStore(b)
	handler := &doneAt{end: make(chan struct{}, 1)}
	d := dispatch.NewDispatcher(dispatch.DispatcherConfig{Outbox: st, Handler: handler})
	st.SetDeliverer(d)
	runStore(b, st)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	benchTrigger(b, st)
	drafts := benchDrafts()
	for b.Loop() {
		handler.left = len(drafts)
		publishDrafts(b, st, drafts)
		<-handler.end
	}
	b.ReportMetric(float64(b.N*len(drafts))/b.Elapsed().Seconds(), "deliveries/s")
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

// BenchmarkPublishMatching publishes batches of 500 events that match a trigger which is
// disabled before they run; the deliveries go with the trigger.
func BenchmarkPublishMatching(b *testing.B) {
	st := benchStore(b)
	runStore(b, st)
	drafts := benchDrafts()
	for i := 0; b.Loop(); i++ {
		if i%15 == 0 { // before it has as many as may wait
			b.StopTimer()
			if err := st.DeleteTrigger(b.Context(), "default", "t"); err != nil && i > 0 {
				b.Fatal(err)
			}
			benchTrigger(b, st)
			b.StartTimer()
		}
		publishDrafts(b, st, drafts)
	}
	b.ReportMetric(float64(b.N*len(drafts))/b.Elapsed().Seconds(), "events/s")
}

func benchStore(b *testing.B) *store.Store {
	b.Helper()
	st, err := store.Open(store.Config{Dir: b.TempDir(), ReserveBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	return st
}

// runStore runs a store until the benchmark ends.
func runStore(b *testing.B, st *store.Store) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, st.Close()); err != nil {
			b.Error(err)
		}
	})
}

func benchTrigger(b *testing.B, st *store.Store) {
	b.Helper()
	_, err := st.SaveScript(b.Context(), picloud.Script{App: "default", Name: "s", Source: "//"}, picloud.Precondition{})
	if err == nil {
		_, err = st.SaveTrigger(b.Context(), picloud.Trigger{App: "default", Name: "t", Kind: picloud.TriggerPubSub, Script: "s", Enabled: true, Retry: picloud.Retry{First: time.Second}})
	}
	if err != nil {
		b.Fatal(err)
	}
}

func benchDrafts() []picloud.Draft {
	return slices.Repeat([]picloud.Draft{{Topic: "t", Data: []byte(`{"degrees":21.5,"sensor":"attic"}`)}}, 500)
}

func publishDrafts(b *testing.B, st *store.Store, drafts []picloud.Draft) {
	b.Helper()
	if _, err := st.Publish(b.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: drafts}); err != nil {
		b.Fatal(err)
	}
}
