package realtime_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/realtime"
)

const stats = picloud.TopicNodeStats

// wantState reads the next frame, which must be a state with this value.
func (s *stream) wantState(t *testing.T, want string) {
	t.Helper()
	f := s.expect(t, "")
	if e := f.envelope(t); e.Topic != stats || string(e.Data) != want || e.Source != "system" || e.PublishedAt == "" || f.id != "" {
		t.Fatalf("got %+v, want the state %s", f, want)
	}
}

// TP-2: a state has the envelope of an event and no id, on streams of every app,
// beside events and alone; it comes first to those that ask for the latest, leaves
// the cursor where it is, and is in no history.
func TestStateReachesItsStreams(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Shards: 2})
	if _, err := n.store.CreateApp(t.Context(), picloud.App{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	n.hub.SetState(stats, []byte(`{"n":1}`))
	old := n.publish(t, "t", `"old"`)[0]
	plain := n.subscribe(t, realtime.Subscription{Topics: []string{stats}})
	both := n.subscribe(t, realtime.Subscription{Topics: []string{"t", stats}, Start: picloud.Start{Mode: picloud.StartLatest}})
	other := n.subscribe(t, realtime.Subscription{App: "shop", Topics: []string{"x", stats, "y"}, Latest: []string{stats}})
	resumed := n.subscribe(t, realtime.Subscription{Topics: []string{stats, "t"}, Latest: []string{stats}, Start: picloud.Start{Mode: picloud.StartAfter, Position: old.Position}})
	alone := n.subscribe(t, realtime.Subscription{Topics: []string{stats}, Start: picloud.Start{Mode: picloud.StartAll}})
	for _, s := range []*stream{plain, both, other, resumed, alone} {
		s.expect(t, "hello")
	}
	for _, s := range []*stream{both, other, resumed} {
		s.wantState(t, `{"n":1}`)
	}
	if f := both.expect(t, ""); f.id != old.Position.String() {
		t.Errorf("%+v", f)
	}
	if !n.hub.SetState(stats, []byte(`{"n":2}`)) {
		t.Error("no stream carries the state")
	}
	for _, s := range []*stream{plain, both, other, resumed, alone} {
		s.wantState(t, `{"n":2}`)
	}
	e := n.publish(t, "t", `"new"`)[0]
	for _, s := range []*stream{both, resumed} {
		if f := s.expect(t, ""); f.id != e.Position.String() {
			t.Errorf("%+v", f)
		}
	}
	if got := n.all(t, []string{stats}); len(got) != 0 {
		t.Errorf("the history has %v", got)
	}
	if head, err := n.store.Head("shop"); err != nil || head.Seq != 0 {
		t.Errorf("%v %v", head, err)
	}
	if _, topics := n.hub.Listened(); strings.Contains(fmt.Sprint(topics), "$") {
		t.Errorf("other nodes are asked for %v", topics)
	}
}

// TP-2: a state is asked for only while a stream carries it, and none is kept
// when its producer says so.
func TestStateIsWatched(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{})
	watched := n.hub.Watched(stats)
	select {
	case <-watched:
		t.Fatal("watched by no stream")
	default:
	}
	for range 3 {
		s := n.subscribe(t, realtime.Subscription{Topics: []string{stats}, Start: picloud.Start{Mode: picloud.StartLatest}})
		<-watched
		s.expect(t, "hello")
		if !n.hub.SetState(stats, []byte("1")) {
			t.Error("not watched")
		}
		s.wantState(t, "1")
		_ = s.conn.Close()
		n.waitFor(t, "the stream to be gone", func() bool { return n.hub.Stats().Subscribers == 0 })
		if n.hub.SetState(stats, nil) {
			t.Error("still watched")
		}
		watched = n.hub.Watched(stats)
	}
}

// TP-2: a reader that is slower than a state gets the newest value when it takes
// bytes again, no backlog and no gap.
func TestSlowReaderOfAStateGetsTheNewest(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Capacity: 8})
	slow := n.subscribe(t, realtime.Subscription{Topics: []string{stats, "t"}})
	fast := n.subscribe(t, realtime.Subscription{Topics: []string{stats}})
	slow.expect(t, "hello")
	fast.expect(t, "hello")
	pad := strings.Repeat("x", 100_000)
	const total = 400
	for i := range total {
		n.hub.SetState(stats, fmt.Appendf(nil, `[%d,"%s"]`, i, pad))
		if f := fast.expect(t, ""); !strings.HasPrefix(string(f.envelope(t).Data), fmt.Sprintf("[%d,", i)) {
			t.Fatalf("fast reader: %d is %.60s", i, f.data)
		}
	}
	e := n.publish(t, "t", "1")[0]
	got, last, event := 0, -1, false
	for last < total-1 || !event {
		f := slow.expect(t, "") // no gap
		if f.id != "" {
			event = f.id == e.Position.String()
			continue
		}
		var i int
		if _, err := fmt.Sscanf(string(f.envelope(t).Data), "[%d,", &i); err != nil || i <= last {
			t.Fatalf("%d came after %d: %v", i, last, err)
		}
		got, last = got+1, i
	}
	if got == total {
		t.Error("the slow reader was not slow: the test does not test")
	}
}
