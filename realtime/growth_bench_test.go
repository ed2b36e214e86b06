package realtime_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
)

// growth is one way in which the work of a hub can be large.
type growth struct {
	subscribers int
	topics      int // of the hub; each subscriber has one of them
	perStream   int // topics of each stream; then all have the same
	payload     int // bytes of data
	slow        int // percent of the subscribers that do not read
}

// BenchmarkGrowth measures what a delivery costs as one thing grows and the
// others stay: an op is so many events that every subscriber who reads gets
// one.
func BenchmarkGrowth(b *testing.B) {
	usual := growth{subscribers: 1000, topics: 1, perStream: 1, payload: 100}
	vary := func(name string, values []int, set func(g *growth, v int)) {
		for _, v := range values {
			g := usual
			set(&g, v)
			b.Run(fmt.Sprintf("%s=%d", name, v), func(b *testing.B) { g.run(b) })
		}
	}
	vary("subscribers", []int{100, 1000, 9000}, func(g *growth, v int) { g.subscribers = v })
	vary("topics", []int{1, 10, 100, 1000}, func(g *growth, v int) { g.topics = v })
	vary("topics-per-stream", []int{1, 8, 64}, func(g *growth, v int) { g.perStream = v })
	vary("payload", []int{20, 200, 2000, 64_000}, func(g *growth, v int) { g.payload = v })
	vary("slow-percent", []int{0, 10, 50}, func(g *growth, v int) { g.slow = v })
}

func (g *growth) run(b *testing.B) {
	b.Helper()
	c := newCrowd(b, g.subscribers)
	topic := func(i int) string { return fmt.Sprintf("t%04d", i) }
	hub := serveTopics(b, c, func(i int) []string {
		if g.perStream == 1 {
			return []string{topic(i % g.topics)}
		}
		var all []string
		for k := range g.perStream {
			all = append(all, topic(k))
		}
		return all
	})
	readers := 0
	for i, fd := range c.client {
		if i*g.slow/100 != (i+1)*g.slow/100 {
			_ = unix.EpollCtl(c.epoll, unix.EPOLL_CTL_DEL, fd, nil)
			continue
		}
		readers++
	}
	one := event(0)
	data := []byte(`"` + strings.Repeat("x", g.payload-2) + `"`)
	size := frameBytes + int64(len(topic(0))-len(one.Topic)) + int64(len(data)-len(one.Data))
	events := make([]picloud.Event, g.topics)
	seq := uint64(0)
	round := func() {
		for i := range events {
			seq++
			events[i] = event(seq)
			events[i].Topic, events[i].Data = topic(i), data
		}
		c.expect(size*int64(readers), func() { hub.Broadcast(events) })
	}
	if g.slow > 0 { // until those who do not read are blocked
		for range 4 << 20 / (g.payload + 120) {
			round()
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		round()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(readers), "ns/delivery")
}
