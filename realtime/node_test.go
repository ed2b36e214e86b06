package realtime_test

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
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
	if cfg.WriteTimeout == 0 {
		cfg.WriteTimeout = time.Hour // on a busy machine readers wait long
	}
	if cfg.Budget == nil {
		cfg.Budget = budget.New(0, metrics.NewSet())
	}
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
		if held := cfg.Budget.Held(budget.Streams); held != 0 {
			t.Errorf("%d bytes are held although no stream is open (SR-1)", held)
		}
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

// subscribe opens a stream that ends with the test.
func (n *node) subscribe(t *testing.T, sub realtime.Subscription) *stream {
	t.Helper()
	s := n.connect(t, sub)
	t.Cleanup(func() { _ = s.conn.Close() })
	return s
}

// connect opens a stream that the caller closes.
func (n *node) connect(t *testing.T, sub realtime.Subscription) *stream {
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
			if f.id != "" {
				s.lastID = f.id
			}
			if !some {
				f = frame{} // an id alone is kept, and dispatched to nobody
				continue
			}
			return f, nil
		}
		some = some || !strings.HasPrefix(line, "id:")
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
	ID          string          `json:"id"`
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
