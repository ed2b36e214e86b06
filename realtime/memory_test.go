package realtime_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
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
	n := newNode(t, realtime.Config{Budget: memory, MaxPerAddress: 1000, Capacity: 4})
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
	n := newNode(t, realtime.Config{Budget: memory, MaxPerAddress: 1000})
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
	n := newNode(t, realtime.Config{Budget: memory, MaxPerAddress: 1000})
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

// SR-2, RT-7: however often a reader stops in large frames, live and catching up, with one
// topic and with several, and whether there is room for the rest or not: no frame is torn
// or comes twice, and what does not come is told.
func TestStallsTearNoFrame(t *testing.T) {
	t.Parallel()
	memory := budget.New(16<<20, metrics.NewSet())
	n := newNode(t, realtime.Config{Budget: memory, MaxPerAddress: 1000, Capacity: 8})
	const readers, total = 24, 60
	topics := []string{"a", "b"}
	var group sync.WaitGroup
	subs := []realtime.Subscription{
		{Topics: topics[:1]},
		{Topics: topics},
		{Topics: topics[:1], Lossless: true},
		{Topics: topics, Lossless: true},
		{Topics: topics[:1], Start: picloud.Start{Mode: picloud.StartAll}},
		{Topics: topics, Lossless: true, Start: picloud.Start{Mode: picloud.StartAll}},
	}
	for i := range readers {
		sub := subs[i%len(subs)]
		s := n.subscribe(t, sub)
		s.expect(t, "hello")
		rnd := rand.New(rand.NewPCG(uint64(i), 7)) // #nosec G404 G115 -- a test that can be repeated
		group.Go(func() {
			want, count, last := total*len(sub.Topics)/2, 0, -1 // events, of which so many came or were missed
			for count < want {
				if rnd.IntN(3) == 0 {
					pause := time.NewTimer(time.Duration(rnd.IntN(60)) * time.Millisecond) // a reader that is slow
					<-pause.C
				}
				f, err := s.read(t)
				if err != nil {
					t.Errorf("%+v: after event %d: %v", sub, last, err)
					return
				}
				switch f.event {
				case "gap":
					var g struct{ Missed int }
					if err := json.Unmarshal([]byte(f.data), &g); err != nil || sub.Lossless {
						t.Errorf("%+v: %q, %v", sub, f.data, err)
					}
					count += g.Missed
				case "":
					var e envelope
					var number int
					if err := json.Unmarshal([]byte(f.data), &e); err == nil {
						_, err = fmt.Sscanf(string(e.Data), "[%d,", &number)
						if err == nil && number > last && string(e.Data) == stallData(number) {
							last = number
							count++
							continue
						}
					}
					t.Errorf("%+v: behind event %d came %d bytes, %.80s … %.80s", sub, last, len(f.data), f.data, f.data[max(0, len(f.data)-80):])
					return
				}
			}
			if count != want || last < total-2 {
				t.Errorf("%+v: %d events came or were missed, want %d; the last was %d", sub, count, want, last)
			}
		})
	}
	for i := range total {
		n.publish(t, topics[i%2], stallData(i))
	}
	group.Wait()
}

func stallData(i int) string {
	return fmt.Sprintf(`[%d,"%s"]`, i, strings.Repeat(string(rune('a'+i%26)), 240_000))
}
