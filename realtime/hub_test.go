package realtime_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/realtime"
	"github.com/picloud/picloud/store"
)

// node is a real store and a real hub behind a real listener.
type node struct {
	store *store.Store
	hub   *realtime.Hub
	ln    net.Listener
	stop  func()

	mu sync.Mutex // one connection is accepted at a time
}

func newNode(t *testing.T, cfg realtime.Config) *node {
	t.Helper()
	var logger *slog.Logger
	if testing.Verbose() {
		logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	st, err := store.Open(store.Config{Dir: t.TempDir(), ReserveBytes: -1, SegmentSize: 4 << 20, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	cfg.History, cfg.Node, cfg.Logger = st, st.Node().ID, logger
	hub, err := realtime.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	st.SetBroadcaster(hub)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hubCtx, stopHub := context.WithCancel(context.Background())
	storeCtx, stopStore := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := hub.Run(hubCtx); err != nil {
			t.Error(err)
		}
	})
	stored := make(chan error, 1)
	go func() { stored <- st.Run(storeCtx) }()
	n := &node{store: st, hub: hub, ln: ln}
	n.stop = sync.OnceFunc(func() {
		_ = ln.Close()
		stopHub()
		wg.Wait()
		stopStore()
		if err := <-stored; err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

func (n *node) publish(t *testing.T, topic string, data ...string) []picloud.Event {
	t.Helper()
	p := picloud.Publication{App: "default", By: picloud.LocalOperator()}
	for _, d := range data {
		p.Drafts = append(p.Drafts, picloud.Draft{Topic: topic, Data: []byte(d)})
	}
	events, err := n.store.Publish(context.Background(), p)
	if err != nil {
		t.Error(err)
	}
	return events
}

// stream is the client's side.
type stream struct {
	conn   net.Conn
	r      *bufio.Reader
	lastID string
}

// frame is one parsed Server-Sent Event, or a comment.
type frame struct {
	event, id, data, retry, comment string
}

func (n *node) subscribe(t *testing.T, sub realtime.Subscription) *stream {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if sub.App == "" {
		sub.App = "default"
	}
	accepted := make(chan net.Conn)
	go func() {
		c, err := n.ln.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	conn, err := net.Dial("tcp", n.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	seat, err := n.hub.Reserve(sub.App, "")
	if err != nil {
		t.Fatal(err)
	}
	seat.Attach(<-accepted, sub)
	t.Cleanup(func() { _ = conn.Close() })
	return &stream{conn: conn, r: bufio.NewReader(conn)}
}

// read parses the next frame as the WHATWG rules say.
func (s *stream) read(t *testing.T) (frame, error) {
	t.Helper()
	var f frame
	some := false
	_ = s.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return f, err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			if !some {
				continue
			}
			if f.id != "" {
				s.lastID = f.id
			}
			return f, nil
		}
		some = true
		if strings.HasPrefix(line, ":") {
			f.comment = line[1:]
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			f.event = value
		case "id":
			f.id = value
		case "data":
			f.data += value
		case "retry":
			f.retry = value
		default:
			t.Fatalf("unknown field in line %q", line)
		}
	}
}

func (s *stream) must(t *testing.T) frame {
	t.Helper()
	f, err := s.read(t)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// envelope is the data of an event's frame.
type envelope struct {
	Topic       string          `json:"topic"`
	Data        json.RawMessage `json:"data"`
	PublishedAt string          `json:"published_at"`
	Source      string          `json:"source"`
}

func (f frame) envelope(t *testing.T) envelope {
	t.Helper()
	var e envelope
	if err := json.Unmarshal([]byte(f.data), &e); err != nil {
		t.Fatalf("frame %+v: %v", f, err)
	}
	return e
}

func (s *stream) expect(t *testing.T, event string) frame {
	t.Helper()
	f := s.must(t)
	if f.event != event {
		t.Fatalf("got frame %+v, want event %q", f, event)
	}
	if event != "" && f.id != "" {
		t.Fatalf("control frame %+v carries an id", f)
	}
	return f
}

// RT-4, RT-5: the first frame opens the stream; events come with id and
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
	open := s.expect(t, "open")
	var o struct {
		Node, App, Position string
		Topics              []string
		HeartbeatSec        float64 `json:"heartbeat_sec"`
		Resumed             bool
	}
	if err := json.Unmarshal([]byte(open.data), &o); err != nil {
		t.Fatal(err)
	}
	if o.Node != n.store.Node().ID || o.HeartbeatSec != 10 || !slices.Equal(o.Topics, []string{"a/b"}) || o.Resumed || open.retry == "" {
		t.Errorf("open frame %+v", open)
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
	s.expect(t, "open")
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
	again.expect(t, "open")
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
				if f := s.expect(t, "open"); !strings.Contains(f.data, `"resumed":true`) {
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
	s.expect(t, "open")
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
			s.expect(t, "open")
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
	s.expect(t, "open")
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
	s.expect(t, "open")
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

// RT-7: a reader that falls behind is told exactly how many events it missed,
// and goes on with the newest; nobody else is slowed.
func TestSlowReaderIsToldItsGap(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Capacity: 8})
	slow := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	fast := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	slow.expect(t, "open")
	fast.expect(t, "open")
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

// RT-7: large events are not kept for a slow reader without bound, whatever the
// capacity says.
func TestLargeEventsAreKeptInBounds(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Capacity: 1000})
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	s.expect(t, "open")
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
	s.expect(t, "open")
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

// RT-8: departures are noticed without traffic, and nothing is left of them.
func TestDepartureIsNoticedWithoutTraffic(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Shards: 2})
	var streams []*stream
	for i := range 50 {
		s := n.subscribe(t, realtime.Subscription{Topics: []string{fmt.Sprint("t", i%7), "all"}})
		s.expect(t, "open")
		streams = append(streams, s)
	}
	began := time.Now()
	for _, s := range streams {
		_ = s.conn.Close()
	}
	n.waitFor(t, "everything to be gone", func() bool { st := n.hub.Stats(); return st.Subscribers == 0 && st.Rings == 0 })
	if took := time.Since(began); took > time.Second {
		t.Errorf("noticed after %v", took)
	}
}

// RT-9: a stream ends at its expiry with an expired frame.
func TestStreamEndsAtExpiry(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Heartbeat: time.Second})
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}, Grant: realtime.Grant{Outside: true, Expires: time.Now().Add(2 * time.Second)}})
	s.expect(t, "open")
	for {
		f := s.must(t)
		if f.comment != "" {
			continue
		}
		if f.event != "expired" || !strings.Contains(f.data, "token") {
			t.Fatalf("frame %+v", f)
		}
		break
	}
	if _, err := s.read(t); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

// RT-9: revocations end matching streams at once and spare the others; shutdown
// says bye.
func TestRevocationAndShutdown(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{})
	outside := n.subscribe(t, realtime.Subscription{Topics: []string{"t", "u"}, Grant: realtime.Grant{Outside: true, SigningKey: "k"}})
	inside := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}, Grant: realtime.Grant{APIKey: "a"}})
	outside.expect(t, "open")
	inside.expect(t, "open")
	n.hub.Revoke(picloud.Revocation{App: "default", Topic: "other", OutsideOnly: true})
	n.hub.Revoke(picloud.Revocation{App: "default", SigningKey: "k", At: time.Now().Add(time.Hour)})
	n.hub.Revoke(picloud.Revocation{App: "default", Topic: "u", OutsideOnly: true})
	if f := outside.expect(t, "expired"); !strings.Contains(f.data, "topic") {
		t.Errorf("frame %+v", f)
	}
	n.publish(t, "t", `1`)
	inside.expect(t, "")
	n.stop()
	inside.expect(t, "bye")
	if _, err := inside.read(t); !errors.Is(err, io.EOF) {
		t.Errorf("after bye: %v", err)
	}
}

// RT-9: a right that ends between the decision and the registration is not
// missed.
func TestRecheckEndsTheStream(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{})
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}, Recheck: func() error { return picloud.ErrTopicNotFound }})
	s.expect(t, "open")
	s.expect(t, "expired")
}

// RT-4: silence is broken by a comment.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{Heartbeat: 200 * time.Millisecond})
	s := n.subscribe(t, realtime.Subscription{Topics: []string{"t"}})
	s.expect(t, "open")
	if f := s.must(t); f.comment == "" || f.data != "" || f.id != "" {
		t.Errorf("frame %+v", f)
	}
}

// RT-13: limits in total, per app and per address; seats come back.
func TestLimits(t *testing.T) {
	t.Parallel()
	n := newNode(t, realtime.Config{MaxSubscribers: 4, MaxPerApp: 3, MaxPerAddress: 2})
	take := func(app, address string, want error) *realtime.Seat {
		t.Helper()
		s, err := n.hub.Reserve(app, address)
		if (want == nil) != (err == nil) || (want != nil && picloud.AsError(err).Type != picloud.AsError(want).Type) {
			t.Fatalf("reserve %s %s: %v, want %v", app, address, err, want)
		}
		return s
	}
	a := take("a", "1", nil)
	take("a", "1", nil)
	take("a", "1", realtime.ErrAddressFull)
	take("a", "2", nil)
	take("a", "3", realtime.ErrAppFull)
	take("b", "4", nil)
	take("c", "5", realtime.ErrFull)
	a.Release()
	a.Release()
	take("a", "1", nil)
	take("c", "5", realtime.ErrFull)
}
