package realtime_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/realtime"
)

// relayed returns an event of another node.
func relayed(n *node, topic string, seq uint64) picloud.Event {
	e := picloud.Event{App: "default", Topic: topic, Data: fmt.Appendf(nil, `"far %d"`, seq), Source: "local", Node: "farnode"}
	e.Epoch, e.Seq = n.store.Node().Epoch+1, seq
	return e
}

// RT-10: events of other nodes reach live subscribers between those of this one,
// marked, without an id of this history; what comes from here is neither lost,
// doubled nor reordered by them, on streams of one topic and of several.
func TestRelayedEventsComeBetween(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Capacity: 4096})
	one := n.subscribe(t, realtime.Subscription{Topics: []string{"a"}})
	one.expect(t, "hello")
	both := n.subscribe(t, realtime.Subscription{Topics: []string{"a", "b"}})
	both.expect(t, "hello")
	const rounds = 200
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range uint64(rounds) {
			n.hub.Relay([]picloud.Event{relayed(n, "a", 2*i+1), relayed(n, "b", 2*i+2)})
		}
	}()
	for i := range rounds {
		n.publish(t, []string{"a", "b"}[i%2], fmt.Sprint(i))
	}
	<-done
	check := func(s *stream, wantFar, wantNear int) {
		t.Helper()
		var far, near int
		lastFar, lastNear := map[string]uint64{}, ""
		for far < wantFar || near < wantNear {
			f := s.expect(t, "")
			env := f.envelope(t)
			if !strings.Contains(f.data, `"node":"farnode"`) {
				if f.id == "" || seqOfID(t, f.id) <= seqOfID(t, lastNear) {
					t.Fatalf("%+v after %s", f, lastNear)
				}
				lastNear = f.id
				near++
				continue
			}
			var seq uint64
			if _, err := fmt.Sscanf(string(env.Data), `"far %d"`, &seq); err != nil || f.id != "" || seq <= lastFar[env.Topic] {
				t.Fatalf("%+v after %v", f, lastFar)
			}
			lastFar[env.Topic] = seq
			far++
		}
	}
	check(one, rounds, rounds/2)
	check(both, 2*rounds, rounds)
}

func seqOfID(t *testing.T, id string) uint64 {
	t.Helper()
	if id == "" {
		return 0
	}
	p, err := picloud.ParsePosition(id)
	if err != nil {
		t.Fatal(err)
	}
	return p.Seq
}

// Who resumes gets what was published here, then what comes from anywhere.
func TestResumeAmongRelayedEvents(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{})
	keep := n.subscribe(t, realtime.Subscription{Topics: []string{"a"}}) // keeps the ring
	keep.expect(t, "hello")
	first := n.publish(t, "a", "1")[0]
	n.hub.Relay([]picloud.Event{relayed(n, "a", 7)})
	second := n.publish(t, "a", "2")[0]
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"a"}, Start: picloud.Start{Mode: picloud.StartAfter, Position: first.Position}})
	s.expect(t, "hello")
	if f := s.expect(t, ""); f.id != second.Position.String() {
		t.Errorf("%+v", f)
	}
	third := n.publish(t, "a", "3")[0] // comes when the stream is live, before which events of other nodes do not
	if f := s.expect(t, ""); f.id != third.Position.String() {
		t.Errorf("%+v", f)
	}
	n.hub.Relay([]picloud.Event{relayed(n, "a", 8)})
	if f := s.expect(t, ""); f.id != "" || !strings.Contains(f.data, "far 8") {
		t.Errorf("%+v", f)
	}
}
