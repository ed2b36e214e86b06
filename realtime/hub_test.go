package realtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/realtime"
)

// RT-4, RT-5: the first frame says hello; events come with id and
// envelope, as they were published.
func TestStreamOpensAndDelivers(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Heartbeat: 10 * time.Second})
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"a/b"}, Head: realtime.ResponseHead("https://x.example")})
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			break
		}
	}
	hello := s.expect(t, "hello")
	var o struct {
		Node, App, Resume string
		Topics            []string
		HeartbeatSec      float64 `json:"heartbeat_sec"`
		Resumed           bool
	}
	if err := json.Unmarshal([]byte(hello.data), &o); err != nil {
		t.Fatal(err)
	}
	if o.Node != n.store.Node().ID || o.HeartbeatSec != 10 || !slices.Equal(o.Topics, []string{"a/b"}) || o.Resumed || hello.retry == "" {
		t.Errorf("hello frame %+v", hello)
	}
	e := n.publish(t, "a/b", `{"x":"…"}`)[0]
	f := s.expect(t, "")
	env := f.envelope(t)
	if f.id != e.Position.String() || env.Topic != "a/b" || string(env.Data) != `{"x":"…"}` || env.Source != "local" ||
		env.PublishedAt != e.PublishedAt.Format(picloud.TimeLayout) {
		t.Errorf("frame %+v of event %+v", f, e)
	}
}

// PB-1: what goes wrong in the hub does not reach the publisher, and what
// subscribers did not get for it they get by replay.
func TestBroadcastThatPanics(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{})
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"t", "broken"}})
	s.expect(t, "hello")
	n.publish(t, "t", `1`)
	s.expect(t, "")
	n.hub.Break("default", "broken")
	if events := n.publish(t, "broken", `2`); len(events) != 1 {
		t.Fatal("the publication failed")
	}
	if bye := s.expect(t, "bye"); !strings.Contains(bye.data, `"error"`) {
		t.Errorf("%+v", bye)
	}
	if _, err := s.read(t); !errors.Is(err, io.EOF) {
		t.Errorf("after bye: %v", err)
	}
	pos, err := picloud.ParsePosition(s.lastID)
	if err != nil {
		t.Fatal(err)
	}
	n.publish(t, "t", `3`)
	again := n.subscribe(t, realtime.Subscription{Topics: []string{"t", "broken"}, Start: picloud.Start{Mode: picloud.StartAfter, Position: pos}})
	again.expect(t, "hello")
	n.publish(t, "broken", `4`)
	for want := range 3 {
		if got := string(again.expect(t, "").envelope(t).Data); got != fmt.Sprint(want+2) {
			t.Errorf("got %s, want %d", got, want+2)
		}
	}
}

// RT-6: reconnecting at random points while events are published at full speed
// gives every event exactly once, in order.
func TestSeamHasNoGapAndNoDuplicate(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Shards: 2})
	const total = 6000
	first := n.publish(t, "t", `0`)[0]
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 1; i < total; {
			k := min(1+i%7, total-i)
			data := make([]string, k)
			for j := range data {
				data[j] = fmt.Sprint(i + j)
			}
			n.publish(t, "t", data...)
			n.publish(t, "other", `"noise"`)
			i += k
		}
	}()
	var wg sync.WaitGroup
	for c := range 6 {
		wg.Go(func() {
			next, reconnects := 1, 0
			pos := first.Position
			for next < total {
				sub := realtime.Subscription{Topics: []string{"t"}, Lossless: true, Start: picloud.Start{Mode: picloud.StartAfter, Position: pos}}
				if c%2 == 1 {
					sub.Topics = []string{"t", "unused"}
				}
				s := n.subscribe(t, sub)
				if f := s.expect(t, "hello"); !strings.Contains(f.data, `"resumed":true`) {
					t.Errorf("not resumed: %+v", f)
				}
				for range 50 + 211*c + reconnects%97 {
					if next == total {
						break
					}
					f := s.expect(t, "")
					if got := string(f.envelope(t).Data); got != fmt.Sprint(next) {
						t.Errorf("client %d after %d reconnects: got %s, want %d", c, reconnects, got, next)
						return
					}
					next++
				}
				var err error
				if pos, err = picloud.ParsePosition(s.lastID); err != nil {
					t.Error(err)
				}
				_ = s.conn.Close()
				reconnects++
			}
		})
	}
	wg.Wait()
	<-done
}

// RT-6: a position of another history, or one that is gone, gives exactly one
// reset frame, then the stream goes on live.
func TestUnusablePositionResetsOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{})
	n.publish(t, "t", `1`)
	foreign := picloud.Position{Epoch: 77, Seq: 1}
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}, Start: picloud.Start{Mode: picloud.StartAfter, Position: foreign}})
	s.expect(t, "hello")
	if f := s.expect(t, "reset"); !strings.Contains(f.data, "foreign") {
		t.Errorf("reset frame %+v", f)
	}
	n.publish(t, "t", `2`)
	if f := s.expect(t, ""); string(f.envelope(t).Data) != "2" {
		t.Errorf("after reset %+v", f)
	}
}

// RT-6: since: all, a time, latest.
func TestSince(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mode picloud.StartMode
		want []string
	}{
		"all":    {picloud.StartAll, []string{"1", "2", "3", "4", "5"}},
		"time":   {picloud.StartAt, []string{"3", "4", "5"}},
		"latest": {picloud.StartLatest, []string{"3", "4", "5"}},
		"live":   {picloud.StartLive, []string{"5"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, realtime.Config{})
			n.publish(t, "a", `1`, `2`)
			b := n.publish(t, "b", `3`)[0]
			n.publish(t, "a", `4`)
			s := n.subscribe(t, realtime.Subscription{Topics: []string{"a", "b"}, Start: picloud.Start{Mode: c.mode, Time: b.PublishedAt}})
			s.expect(t, "hello")
			for i, want := range c.want {
				if want == "5" {
					n.publish(t, "b", `5`)
				}
				if f := s.expect(t, ""); string(f.envelope(t).Data) != want {
					t.Fatalf("frame %d is %+v, want %s", i, f, want)
				}
			}
		})
	}
}

// RT-5: on a stream of many topics the events of all come in the order of the
// app.
func TestManyTopicsKeepTheOrderOfTheApp(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Shards: 2})
	topics := make([]string, 64)
	for i := range topics {
		topics[i] = fmt.Sprintf("t%d", i)
	}
	s := n.subscribe(t, realtime.Subscription{Topics: topics, Lossless: true})
	s.expect(t, "hello")
	const total = 4000
	go func() {
		for i := 0; i < total; i += 10 {
			p := picloud.Publication{App: "default", By: picloud.LocalOperator()}
			for k := range 10 {
				p.Drafts = append(p.Drafts, picloud.Draft{Topic: topics[(i*7+k*13)%64], Data: fmt.Append(nil, i+k)})
			}
			if _, err := n.store.Publish(context.Background(), p); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range total {
		if f := s.expect(t, ""); string(f.envelope(t).Data) != fmt.Sprint(i) {
			t.Fatalf("event %d is %+v", i, f)
		}
	}
}

// RT-7: a batch of a thousand events reaches everybody who reads; the capacity
// is for those who do not.
func TestLargeBatchIsNotDropped(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{})
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	s.expect(t, "hello")
	data := make([]string, 1000)
	for i := range data {
		data[i] = fmt.Sprint(i)
	}
	n.publish(t, "t", data...)
	for i := range data {
		if f := s.expect(t, ""); string(f.envelope(t).Data) != fmt.Sprint(i) {
			t.Fatalf("event %d is %+v", i, f)
		}
	}
}
