package realtime_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/realtime"
)

// received is an event as a client has it.
type received struct {
	topic string
	pos   picloud.Position
}

// client follows topics over any number of connections by the rule that
// docs/protocol.md gives.
type client struct {
	sub    realtime.Subscription // of the first connection
	cursor *picloud.Position     // nil: begin as at first
	first  *picloud.Position     // resume of the first hello frame
	got    []received
	resets int
	ended  bool
}

// request returns the subscription of the next connection.
func (c *client) request() realtime.Subscription {
	sub := c.sub
	if c.cursor == nil {
		return sub
	}
	if sub.Start.Mode == picloud.StartLatest {
		sub.Latest = sub.Topics
	}
	sub.Start = picloud.Start{Mode: picloud.StartAfter, Position: *c.cursor}
	sub.Latest = slices.DeleteFunc(slices.Clone(sub.Latest), func(topic string) bool {
		return slices.ContainsFunc(c.got, func(r received) bool { return r.topic == topic })
	})
	return sub
}

// take handles a frame.
func (c *client) take(t *testing.T, f frame) {
	t.Helper()
	switch f.event {
	case "hello":
		var h struct{ Resume, Newest *picloud.Position }
		if err := json.Unmarshal([]byte(f.data), &h); err != nil || h.Resume == nil || h.Newest == nil {
			t.Fatalf("%v: %+v", err, f)
		}
		if h.Newest.Epoch != h.Resume.Epoch || h.Newest.Seq < h.Resume.Seq {
			t.Errorf("the newest is before the beginning: %+v", f)
		}
		c.cursor = h.Resume
		if c.first == nil {
			c.first = h.Resume
		}
	case "reset":
		c.resets++
	case "":
		e := f.envelope(t)
		pos := positionOf(t, cmp.Or(f.id, e.ID))
		if f.id != "" && (pos.Epoch != c.cursor.Epoch || pos.Seq > c.cursor.Seq) {
			c.cursor = &pos
		}
		c.got = append(c.got, received{topic: e.Topic, pos: pos})
		c.ended = string(e.Data) == `"end"`
	default:
		t.Fatalf("unexpected frame %+v", f)
	}
}

func positionOf(t *testing.T, id string) picloud.Position {
	t.Helper()
	pos, err := picloud.ParsePosition(id)
	if err != nil {
		t.Fatal(err)
	}
	return pos
}

// traffic publishes total events to a, b and c, two to "late" in the middle, and
// "end" at last.
func (n *node) traffic(t *testing.T, total int) {
	t.Helper()
	for i := 0; i < total; {
		k := min(1+i%5, total-i)
		p := picloud.Publication{App: "default", By: picloud.LocalOperator()}
		for j := range k {
			p.Drafts = append(p.Drafts, picloud.Draft{Topic: []string{"a", "b", "a", "c"}[(i+j)%4], Data: fmt.Append(nil, i+j)})
		}
		if i <= total/2 && i+k > total/2 {
			p.Drafts = append(p.Drafts, picloud.Draft{Topic: "late", Data: []byte("1")}, picloud.Draft{Topic: "late", Data: []byte("2")})
		}
		if _, err := n.store.Publish(context.Background(), p); err != nil {
			t.Error(err)
		}
		i += k
	}
	n.publish(t, "a", `"end"`)
}

// all returns the whole history of topics.
func (n *node) all(t *testing.T, topics []string) []received {
	t.Helper()
	var out []received
	for q := (picloud.HistoryQuery{App: "default", Topics: topics}); ; {
		page, err := n.store.Events(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			out = append(out, received{topic: e.Topic, pos: e.Position})
		}
		if !page.More {
			return out
		}
		q.After = page.Next
	}
}

// RT-6: a client that follows the rule of docs/protocol.md gets, however often
// and wherever its connections break, every event after the place where it
// began exactly once and in order, and of the topics of latest the newest one
// before that place, if no later one came instead.
func TestClientThatFollowsTheRule(t *testing.T) {
	t.Parallel()
	topics := []string{"a", "b", "c", "late", "quiet"}
	for name, begin := range map[string]func(old []picloud.Event) realtime.Subscription{
		"live": func([]picloud.Event) realtime.Subscription { return realtime.Subscription{} },
		"all": func([]picloud.Event) realtime.Subscription {
			return realtime.Subscription{Start: picloud.Start{Mode: picloud.StartAll}}
		},
		"latest": func([]picloud.Event) realtime.Subscription {
			return realtime.Subscription{Start: picloud.Start{Mode: picloud.StartLatest}}
		},
		"a time": func(old []picloud.Event) realtime.Subscription {
			return realtime.Subscription{Start: picloud.Start{Mode: picloud.StartAt, Time: old[3].PublishedAt}}
		},
		"resumed": func(old []picloud.Event) realtime.Subscription {
			return realtime.Subscription{Start: picloud.Start{Mode: picloud.StartAfter, Position: old[2].Position}}
		},
		"resumed, topics join": func(old []picloud.Event) realtime.Subscription {
			return realtime.Subscription{Start: picloud.Start{Mode: picloud.StartAfter, Position: old[4].Position}, Latest: []string{"b", "late", "quiet"}}
		},
		"live, topics join": func([]picloud.Event) realtime.Subscription {
			return realtime.Subscription{Latest: []string{"a", "quiet"}}
		},
		"reset": func([]picloud.Event) realtime.Subscription {
			return realtime.Subscription{Start: picloud.Start{Mode: picloud.StartAfter, Position: picloud.Position{Epoch: 7, Seq: 1}}, Latest: []string{"quiet"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, realtime.Config{Shards: 2})
			var old []picloud.Event
			for _, topic := range []string{"a", "quiet", "b", "c", "a", "b", "a"} {
				old = append(old, n.publish(t, topic, `"old"`)...)
			}
			c := &client{sub: begin(old)}
			c.sub.Topics, c.sub.Lossless = topics, true
			n.follow(t, c, 1500)
			if want := map[bool]int{true: 1}[name == "reset"]; c.resets != want {
				t.Errorf("%d resets, want %d", c.resets, want)
			}
			n.verify(t, c)
		})
	}
}

// follow connects again and again, and takes a few frames each time, until the
// client has the last event. Publishing begins with the first connection.
func (n *node) follow(t *testing.T, c *client, events int) {
	t.Helper()
	var wg sync.WaitGroup
	defer wg.Wait()
	for round := 0; !c.ended; round++ {
		s := n.connect(t, c.request())
		frames := rand.N(4) // often cut among the first frames
		if round%3 == 0 {
			frames = 1 + rand.N(400)
		}
		for i := 0; i <= frames && !c.ended; i++ {
			f := s.must(t)
			if f.comment == "" {
				c.take(t, f)
			}
			if round == 0 && i == 0 {
				wg.Go(func() { n.traffic(t, events) })
			}
		}
		_ = s.conn.Close()
	}
}

// verify compares what a client got with the history.
func (n *node) verify(t *testing.T, c *client) {
	t.Helper()
	latest := c.sub.Latest
	if c.sub.Start.Mode == picloud.StartLatest {
		latest = c.sub.Topics
	}
	var want []received
	newest := map[string]received{} // up to where the client began
	for _, r := range n.all(t, c.sub.Topics) {
		if r.pos.Seq > c.first.Seq {
			want = append(want, r)
		} else {
			newest[r.topic] = r
		}
	}
	var before, after []received
	for _, r := range c.got {
		if r.pos.Seq > c.first.Seq {
			after = append(after, r)
		} else {
			before = append(before, r)
		}
	}
	if !slices.Equal(after, want) {
		t.Errorf("got %d events after %v, want %d", len(after), c.first, len(want))
	}
	seen := map[string]bool{}
	for _, r := range before {
		if r != newest[r.topic] || seen[r.topic] || !slices.Contains(latest, r.topic) {
			t.Errorf("got %+v, the newest was %+v", r, newest[r.topic])
		}
		seen[r.topic] = true
	}
	if slices.Contains(latest, "quiet") && !seen["quiet"] {
		t.Error("the newest event of the quiet topic never came")
	}
}

// RT-6: a browser's EventSource, which knows the last id and no rule, loses
// nothing either. Of a topic in latest it gets the newest event again each time it
// comes back, and no other event twice.
func TestEventSourceLosesNothing(t *testing.T) {
	t.Parallel()
	topics := []string{"a", "b", "c", "late"}
	for name, sub := range map[string]realtime.Subscription{
		"live":          {},
		"all":           {Start: picloud.Start{Mode: picloud.StartAll}},
		"latest":        {Start: picloud.Start{Mode: picloud.StartLatest}},
		"a topic joins": {Latest: []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, realtime.Config{Shards: 2})
			n.publish(t, "b", `"old"`)
			sub.Topics, sub.Lossless = topics, true
			var wg sync.WaitGroup
			defer wg.Wait()
			var id string // what the browser sends
			var first *picloud.Position
			times := map[received]int{}
			for ended := false; !ended; {
				next := sub
				if id != "" {
					next.Start = picloud.Start{Mode: picloud.StartAfter, Position: positionOf(t, id)}
				}
				s := n.connect(t, next)
				var h struct{ Resume *picloud.Position }
				if err := json.Unmarshal([]byte(s.expect(t, "hello").data), &h); err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = h.Resume
					wg.Go(func() { n.traffic(t, 800) })
				}
				for range 1 + rand.N(60) {
					if ended {
						break
					}
					f := s.must(t)
					if f.event == "" && f.comment == "" {
						e := f.envelope(t)
						times[received{topic: e.Topic, pos: positionOf(t, cmp.Or(f.id, e.ID))}]++
						ended = string(e.Data) == `"end"`
					}
				}
				if s.lastID != "" {
					id = s.lastID
				}
				_ = s.conn.Close()
			}
			for _, r := range n.all(t, topics) {
				switch k := times[r]; {
				case r.pos.Seq > first.Seq && k == 0:
					t.Errorf("%+v was lost", r)
				case k > 1 && !slices.Contains(sub.Latest, r.topic):
					t.Errorf("%+v came %d times", r, k)
				}
			}
		})
	}
}

// CL-4: the first frame says which events are history: a topic that joins a stream that resumes can begin behind them.
func TestHelloTellsTheNewest(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{})
	var ids []picloud.Position
	for range 3 {
		ids = append(ids, n.publish(t, "a", `1`)[0].Position)
	}
	for name, start := range map[string]picloud.Start{
		"live": {}, "an id": {Mode: picloud.StartAfter, Position: ids[0]}, "all": {Mode: picloud.StartAll}, "latest": {Mode: picloud.StartLatest},
		"another history": {Mode: picloud.StartAfter, Position: picloud.Position{Epoch: 7, Seq: 1}},
	} {
		s := n.subscribe(t, realtime.Subscription{Topics: []string{"a"}, Start: start})
		var h struct {
			Newest picloud.Position
			Time   time.Time
		}
		err := json.Unmarshal([]byte(s.expect(t, "hello").data), &h)
		if now := n.store.Now(); err != nil || h.Newest != ids[2] || h.Time.Before(now.Add(-time.Minute)) || h.Time.After(now) {
			t.Errorf("%s: %+v, want %v, %v, %v", name, h, ids[2], now, err)
		}
	}
}
