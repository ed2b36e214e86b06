package realtime_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/realtime"
)

// RT-7: a reader that falls behind is told exactly how many events it missed,
// and goes on with the newest; nobody else is slowed.
func TestSlowReaderIsToldItsGap(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Capacity: 8})
	slow := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	fast := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	slow.expect(t, "hello")
	fast.expect(t, "hello")
	pad := strings.Repeat("x", 20_000)
	const total = 1200
	for i := range total {
		n.publish(t, "t", fmt.Sprintf(`[%d,"%s"]`, i, pad))
		if f := fast.expect(t, ""); !strings.HasPrefix(string(f.envelope(t).Data), fmt.Sprintf("[%d,", i)) {
			t.Fatalf("fast reader: event %d is %.60s", i, f.data)
		}
	}
	next, gaps := 0, 0
	for next < total {
		f := slow.must(t)
		if f.event == "gap" {
			var g struct {
				Missed      int
				After, Next string
			}
			if err := json.Unmarshal([]byte(f.data), &g); err != nil {
				t.Fatal(err)
			}
			if g.After != slow.lastID {
				t.Errorf("gap after %s, the last event was %s", g.After, slow.lastID)
			}
			next += g.Missed
			gaps++
			continue
		}
		if !strings.HasPrefix(string(f.envelope(t).Data), fmt.Sprintf("[%d,", next)) {
			t.Fatalf("slow reader: event %d is %.60s", next, f.data)
		}
		next++
	}
	if gaps == 0 {
		t.Error("the slow reader missed nothing: the test does not test")
	}
}

// RT-7: of a stream of several topics a gap says which have missed how many, and how far that
// reaches, also where a quiet topic goes on before that.
func TestGapOfSeveralTopics(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Capacity: 8})
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"busy", "quiet"}})
	s.expect(t, "hello")
	pad := strings.Repeat("x", 20_000)
	const total = 1200
	for i := range total {
		topic := "busy"
		if i%300 == 299 {
			topic = "quiet"
		}
		n.publish(t, topic, fmt.Sprintf(`[%d,"%s"]`, i, pad))
	}
	got := map[uint64]bool{}
	type gap struct {
		Missed             int
		After, Until, Next string
		Topics             map[string]int
	}
	var gaps []gap
	byTopic := map[string]int{} // read and missed
	for sum := 0; sum < total; {
		f := s.must(t)
		if f.event == "gap" {
			var g gap
			if err := json.Unmarshal([]byte(f.data), &g); err != nil {
				t.Fatal(err)
			}
			gaps, sum = append(gaps, g), sum+g.Missed
			for topic, missed := range g.Topics {
				byTopic[topic] += missed
				g.Missed -= missed
			}
			if g.Missed != 0 {
				t.Errorf("the topics of a gap do not add up: %s", f.data)
			}
			continue
		}
		got[seqOf(t, f.id)] = true
		byTopic[f.envelope(t).Topic]++
		sum++
	}
	missing := 0
	for _, g := range gaps {
		for seq := seqOf(t, g.After) + 1; seq <= seqOf(t, g.Until); seq++ {
			if !got[seq] {
				missing++
				got[seq] = true
			}
		}
	}
	if byTopic["busy"] != total-total/300 || byTopic["quiet"] != total/300 {
		t.Errorf("read or missed: %v", byTopic)
	}
	if len(gaps) == 0 || len(got) != total {
		t.Errorf("%d gaps, %d of the events are neither there nor named; %d were named: %+v", len(gaps), total-len(got), missing, gaps)
	}
}

func seqOf(t *testing.T, id string) uint64 {
	t.Helper()
	pos, err := picloud.ParsePosition(id)
	if err != nil {
		t.Fatal(err)
	}
	return pos.Seq
}

// RT-7: large events are not kept for a slow reader without bound, whatever the
// capacity says.
func TestLargeEventsAreKeptInBounds(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Capacity: 1000})
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	s.expect(t, "hello")
	pad := strings.Repeat("x", 200_000)
	const total = 200
	for i := range total {
		n.publish(t, "t", fmt.Sprintf(`[%d,"%s"]`, i, pad))
	}
	missed, got := 0, 0
	for missed+got < total {
		f := s.must(t)
		if f.event != "gap" {
			got++
			continue
		}
		var g struct{ Missed int }
		if err := json.Unmarshal([]byte(f.data), &g); err != nil {
			t.Fatal(err)
		}
		missed += g.Missed
	}
	if missed == 0 {
		t.Error("all was kept")
	}
}

// RT-7: with lossless the server refills from the journal.
func TestLosslessReaderMissesNothing(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Capacity: 8})
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}, Lossless: true})
	s.expect(t, "hello")
	pad := strings.Repeat("x", 20_000)
	const total = 1200
	for i := range total {
		n.publish(t, "t", fmt.Sprintf(`[%d,"%s"]`, i, pad))
	}
	for i := range total {
		f := s.expect(t, "")
		if !strings.HasPrefix(string(f.envelope(t).Data), fmt.Sprintf("[%d,", i)) {
			t.Fatalf("event %d is %.60s", i, f.data)
		}
	}
}

// RT-7: a reader that takes nothing is cut after the write deadline.
func TestReaderThatDoesNotReadIsCut(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{WriteTimeout: 300 * time.Millisecond})
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	pad := `"` + strings.Repeat("x", 200_000) + `"`
	for range 60 {
		n.publish(t, "t", pad)
	}
	n.waitFor(t, "the stream to be cut", func() bool { return n.hub.Stats().Subscribers == 0 })
	if n.hub.Stats().Cut != 1 {
		t.Errorf("stats %+v", n.hub.Stats())
	}
	_ = s
}

func (n *node) waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s: %+v", what, n.hub.Stats())
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // polls a figure that has no signal
	}
}

// SR-1: readers that ask for the whole history and read nothing cost a frame each
// and not a page, and miss nothing when they read after all.
func TestStalledCatchUpHoldsAFrame(t *testing.T) {
	n := newNode(t, realtime.Config{MaxPerAddress: 1000})
	pad := strings.Repeat("x", 20_000)
	const total, readers = 1200, 40
	for i := range total {
		n.publish(t, "t", fmt.Sprintf(`[%d,"%s"]`, i, pad))
	}
	before := heap()
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
		return still > 100
	})
	if held := int64(heap()) - int64(before); held > readers*64<<10 {
		t.Errorf("%d readers that read nothing hold %d bytes each", readers, held/readers)
	}
	for _, s := range streams[:4] {
		s.expect(t, "hello")
		for i := range total {
			if f := s.expect(t, ""); !strings.HasPrefix(string(f.envelope(t).Data), fmt.Sprintf("[%d,", i)) {
				t.Fatalf("event %d is %.60s", i, f.data)
			}
		}
	}
}

// RT-6, RT-7: when retention takes what a slow reader was still to get, the reader
// is told with one reset, and goes on live. What had gone before it came is no loss.
func TestRetentionOvertakesASlowReader(t *testing.T) {
	t.Parallel()
	for name, sub := range map[string]realtime.Subscription{
		"all":      {Start: picloud.Start{Mode: picloud.StartAll}},
		"lossless": {Lossless: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, realtime.Config{Capacity: 8})
			if _, err := n.store.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "t", Retention: picloud.Retention{MaxEvents: 600}}); err != nil {
				t.Fatal(err)
			}
			pad := strings.Repeat("x", 20_000)
			publish := func(from, to int) {
				for i := from; i < to; i++ {
					n.publish(t, "t", fmt.Sprintf(`[%d,"%s"]`, i, pad))
				}
			}
			publish(0, 1000) // of which 400 have gone
			sub.Topics = []string{"quiet", "t"}
			s := n.subscribe(t, sub)
			s.expect(t, "hello")
			publish(1000, 3000)
			next, resets, first := 0, 0, -1
			for next < 3000 {
				f := s.must(t)
				if f.event == "reset" {
					resets++
					n.publish(t, "t", `"after"`)
					for string(s.must(t).envelope(t).Data) != `"after"` { // live, and no second reset
					}
					break
				}
				var i int
				if _, err := fmt.Sscanf(string(f.envelope(t).Data), "[%d,", &i); err != nil {
					t.Fatal(err)
				}
				if first < 0 {
					first, next = i, i
				}
				if i != next {
					t.Fatalf("event %d follows event %d, and nobody has told", i, next-1)
				}
				next++
			}
			if resets != 1 {
				t.Errorf("%d resets after events %d to %d; the test needs one", resets, first, next-1)
			}
		})
	}
}
