package realtime_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
	"github.com/picloud/picloud/realtime"
)

// SR-1: what is kept of the newest events of many topics stays within its share. Live
// readers miss nothing, nor does one that refills from the history.
func TestRingsShareTheirMemory(t *testing.T) {
	t.Parallel()
	memory := budget.New(16<<20, metrics.NewSet())
	n := newNode(t, realtime.Config{Budget: memory, MaxPerAddress: 1000, WriteTimeout: time.Hour, Capacity: 4})
	const topics, rounds = 40, 12
	pad := strings.Repeat("x", 60_000)
	var streams []*stream
	for i := range topics {
		s := n.subscribe(t, realtime.Subscription{Topics: []string{fmt.Sprint("t", i)}})
		s.expect(t, "hello")
		streams = append(streams, s)
	}
	lossless := n.subscribe(t, realtime.Subscription{Topics: []string{"t0"}, Lossless: true})
	lossless.expect(t, "hello")
	share, most := memory.Share(budget.Streams), 0
	for round := range rounds {
		for i, s := range streams {
			n.publish(t, fmt.Sprint("t", i), fmt.Sprintf(`[%d,"%s"]`, round, pad))
			if f := s.expect(t, ""); !strings.HasPrefix(string(f.envelope(t).Data), fmt.Sprintf("[%d,", round)) {
				t.Fatalf("topic %d, event %d is %.60s", i, round, f.data)
			}
			most = max(most, memory.Held(budget.Streams))
		}
	}
	if most > share*3/4 {
		t.Errorf("the rings of %d topics held %d bytes, the share of streams is %d", topics, most, share)
	}
	for round := range rounds {
		if f := lossless.expect(t, ""); !strings.HasPrefix(string(f.envelope(t).Data), fmt.Sprintf("[%d,", round)) {
			t.Fatalf("the lossless reader: event %d is %.60s", round, f.data)
		}
	}
}

// SR-2, RT-7: readers that stop in the same frame hold it once, and get the rest of it.
func TestStalledReadersShareTheFrame(t *testing.T) {
	t.Parallel()
	memory := budget.New(16<<20, metrics.NewSet())
	n := newNode(t, realtime.Config{Budget: memory, MaxPerAddress: 1000, WriteTimeout: time.Hour})
	const readers, total = 30, 40
	pad := strings.Repeat("x", 200_000)
	var streams []*stream
	for range readers {
		s := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}, Lossless: true})
		s.expect(t, "hello")
		streams = append(streams, s)
	}
	for i := range total {
		n.publish(t, "t", fmt.Sprintf(`[%d,"%s"]`, i, pad))
	}
	for _, s := range streams {
		for i := range total {
			if f := s.expect(t, ""); !strings.HasPrefix(string(f.envelope(t).Data), fmt.Sprintf("[%d,", i)) {
				t.Fatalf("event %d is %.60s", i, f.data)
			}
		}
	}
}

// SR-2, SR-4: many readers that catch up and stop in frames of their own stay within their
// share. None is cut: each reads what it gets again, and gets all of it. A reader of
// another app is served meanwhile.
func TestStalledCatchUpStaysWithinItsShare(t *testing.T) {
	t.Parallel()
	memory := budget.New(16<<20, metrics.NewSet())
	n := newNode(t, realtime.Config{Budget: memory, MaxPerAddress: 1000, WriteTimeout: time.Hour})
	if _, err := n.store.CreateApp(t.Context(), picloud.App{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	const readers, total = 40, 50
	pad := strings.Repeat("x", 200_000)
	for i := range total {
		n.publish(t, "t", fmt.Sprintf(`[%d,"%s"]`, i, pad))
	}
	var streams []*stream
	for range readers {
		streams = append(streams, n.subscribe(t, realtime.Subscription{Topics: []string{"t"}, Start: picloud.Start{Mode: picloud.StartAll}}))
	}
	last, still := uint64(0), 0
	n.waitFor(t, "all sockets to be full", func() bool { // there is no signal for that: the frames that were sent stop growing
		sent := n.hub.Stats().Replayed
		if still++; sent != last || sent == 0 {
			last, still = sent, 0
		}
		if held, share := memory.Held(budget.Streams), memory.Share(budget.Streams); held > share {
			t.Fatalf("they hold %d bytes, the share is %d", held, share)
		}
		return still > 30
	})
	s := n.subscribe(t, realtime.Subscription{App: "other", Topics: []string{"t"}})
	s.expect(t, "hello")
	p := picloud.Publication{App: "other", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "t", Data: []byte(`"` + pad + `"`)}}}
	if _, err := n.store.Publish(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	s.expect(t, "")
	for _, s := range streams {
		s.expect(t, "hello")
		for i := range total {
			f := s.expect(t, "")
			if data := string(f.envelope(t).Data); data != fmt.Sprintf(`[%d,"%s"]`, i, pad) {
				t.Fatalf("event %d is %.60s, %d bytes", i, data, len(data))
			}
		}
	}
}
