package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// heard is a Broadcaster that remembers what it was told: another one takes the
// hub's place with no caller changed (RT-10).
type heard struct {
	mu      sync.Mutex
	events  []picloud.Event
	revoked []picloud.Revocation
}

func (h *heard) Broadcast(events []picloud.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, events...)
}

func (h *heard) Revoke(r picloud.Revocation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revoked = append(h.revoked, r)
}

func (h *heard) all() []picloud.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]picloud.Event(nil), h.events...)
}

func (h *heard) revocations() []picloud.Revocation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]picloud.Revocation(nil), h.revoked...)
}

// running is a store whose committer runs. stop ends it in good order; crash
// ends the committer and leaves the files as a killed process would.
type running struct {
	*store.Store
	heard  *heard
	cancel context.CancelFunc
	done   chan error
	closed bool
}

func start(t *testing.T, cfg store.Config) *running {
	t.Helper()
	h := &heard{}
	cfg.Broadcaster = h
	if cfg.ReserveBytes == 0 {
		cfg.ReserveBytes = -1
	}
	if cfg.SegmentSize == 0 {
		cfg.SegmentSize = 512 << 10
	}
	if testing.Verbose() {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := store.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Store: s, heard: h, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	t.Cleanup(func() { r.stop(t) })
	return r
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	if r.closed {
		return
	}
	r.closed = true
	r.cancel()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func publish(t *testing.T, s *running, app, topic string, data ...string) []picloud.Event {
	t.Helper()
	p := picloud.Publication{App: app, By: picloud.LocalOperator()}
	for _, d := range data {
		p.Drafts = append(p.Drafts, picloud.Draft{Topic: topic, Data: []byte(d)})
	}
	events, err := s.Publish(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func history(t *testing.T, s *running, app string, topics ...string) []string {
	t.Helper()
	page, err := s.Events(t.Context(), picloud.HistoryQuery{App: app, Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range page.Events {
		out = append(out, fmt.Sprintf("%d %s %s", e.Seq, e.Topic, e.Data))
	}
	return out
}

// PB-1, PB-2, PB-3: what is published is heard, kept, in order, with one time,
// and is there again after a stop.
func TestPublishedEventsAreHeardAndKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, store.Config{Dir: dir})
	first := publish(t, s, "default", "a", `{"n":1}`, `{"n":2}`)
	publish(t, s, "default", "b", `3`)
	if got := len(s.heard.all()); got != 3 {
		t.Fatalf("heard %d events, want 3", got)
	}
	want := "[1 a {\"n\":1} 2 a {\"n\":2} 3 b 3]"
	if got := fmt.Sprint(history(t, s, "default", "a", "b")); got != want {
		t.Fatalf("history %s, want %s", got, want)
	}
	if h := s.heard.all()[0]; !h.PublishedAt.Equal(first[0].PublishedAt) {
		t.Errorf("heard at %v, answered at %v", h.PublishedAt, first[0].PublishedAt)
	}
	node := s.Node()
	s.stop(t)
	s = start(t, store.Config{Dir: dir})
	if got := fmt.Sprint(history(t, s, "default", "a", "b")); got != want {
		t.Fatalf("history after restart %s, want %s", got, want)
	}
	if s.Node().ID != node.ID || s.Node().Epoch != node.Epoch {
		t.Errorf("node %+v became %+v", node, s.Node())
	}
	e := publish(t, s, "default", "a", `4`)
	if e[0].Seq != 4 {
		t.Errorf("sequence after restart %d, want 4", e[0].Seq)
	}
	back, err := s.Event(t.Context(), "default", first[1].Position)
	if err != nil || !back.PublishedAt.Equal(first[1].PublishedAt) || string(back.Data) != `{"n":2}` {
		t.Errorf("event read back: %+v, %v", back, err)
	}
	if h := s.Health(); h.Degraded {
		t.Errorf("health %+v", h)
	}
}
