package realtime_test

import (
	"context"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/realtime"
)

// OP-5: the time from an edge to its frame in the socket is measured once for each event
// that tells of an edge, and for no other.
func TestEdgeToFrameIsMeasured(t *testing.T) {
	t.Parallel()
	set := metrics.NewSet()
	n := newNode(t, realtime.Config{Shards: 1, Metrics: set})
	one := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	many := n.subscribe(t, realtime.Subscription{Topics: []string{"t", "u"}})
	one.expect(t, "hello")
	many.expect(t, "hello")
	measured := func() (count uint64) {
		set.GetOrCreateHistogram("picloud_edge_to_frame_seconds").VisitNonZeroBuckets(func(_ string, n uint64) { count += n })
		return count
	}
	for i := range uint64(600) { // more than a ring retains
		edge := time.Now().Add(-time.Hour)
		p := picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "t", Data: []byte(`1`), Edge: &edge}, {Topic: "t", Data: []byte(`2`)}}}
		if _, err := n.store.Publish(context.Background(), p); err != nil {
			t.Fatal(err)
		}
		n.publish(t, "t", `3`)
		for range 3 {
			one.expect(t, "")
			many.expect(t, "")
		}
		n.publish(t, "t", `4`) // what is before it is measured when it has come
		one.expect(t, "")
		many.expect(t, "")
		if got := measured(); got != i+1 {
			t.Fatalf("%d edges were measured, want %d", got, i+1)
		}
	}
	if l := n.hub.EdgeLatency(); l.Edges != 600 || l.P50 < time.Hour || l.P99 > 2*time.Hour || l.P50 > l.P99 {
		t.Errorf("edges of an hour ago took %+v", l)
	}
}
