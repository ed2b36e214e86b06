package httpapi_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/httpapi"
)

// gate holds publications back, in front of the real publisher.
type gate struct {
	picloud.Publisher
	entered, open chan struct{}
}

func (g *gate) Publish(ctx context.Context, p picloud.Publication) ([]picloud.Event, error) {
	close(g.entered)
	<-g.open
	if done := ctx.Done(); done != nil { // one that the server would end
		<-done
		return nil, ctx.Err()
	}
	return g.Publisher.Publish(ctx, p)
}

// PB-1: a publish that is under way when the server shuts down is finished and
// answered as what it is.
func TestShutdownFinishesRequests(t *testing.T) {
	t.Parallel()
	g := &gate{entered: make(chan struct{}), open: make(chan struct{})}
	n := newNode(t, func(c *httpapi.Config) {
		g.Publisher = c.Publisher
		c.Publisher = g
	})
	status := make(chan int, 1)
	go func() {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, n.url+"/v1/apps/default/topics/t/events", strings.NewReader("1"))
		if err != nil {
			status <- 0
			return
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+n.admin)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			status <- 0
			return
		}
		_ = res.Body.Close()
		status <- res.StatusCode
	}()
	<-g.entered
	shut := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		shut <- n.server.Shutdown(ctx)
	}()
	for { // until the listener is closed, which is how shutting down begins
		conn, err := net.DialTimeout("tcp", n.addr, time.Second)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	close(g.open)
	if got := <-status; got != 201 {
		t.Errorf("the publish that was under way got %d", got)
	}
	if err := <-shut; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if head, err := n.store.Head("default"); err != nil || head.Seq != 1 {
		t.Errorf("stored: %v %v", head, err)
	}
}

// RT-13: the address that counts is what the trusted proxy saw, whatever the
// client wrote in front of it, on the same line or on one of its own.
func TestForwardedAddress(t *testing.T) {
	t.Parallel()
	behind := func(c *httpapi.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	const path = "/v1/apps/default/topics/t/events"
	n := newNode(t, behind)
	key := "Authorization: Bearer " + n.admin
	for range 16 {
		n.sse(t, path, key, "X-Forwarded-For: 192.0.2.9")
	}
	for name, lines := range map[string][]string{
		"same line":       {"X-Forwarded-For: 198.51.100.1, 192.0.2.9"},
		"line of its own": {"X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 192.0.2.9"},
	} {
		if got := n.raw(t, get(path, append(lines, key, "Accept: text/event-stream")...)); !strings.HasPrefix(got, "HTTP/1.1 429 ") {
			t.Errorf("%s: %.80q", name, got)
		}
	}
	n.sse(t, path, key, "X-Forwarded-For: 198.51.100.1") // another client of the same proxy

	direct := newNode(t)
	key = "Authorization: Bearer " + direct.admin
	for range 16 {
		direct.sse(t, path, key, "X-Forwarded-For: 192.0.2.9")
	}
	if got := direct.raw(t, get(path, "X-Forwarded-For: 198.51.100.1", key, "Accept: text/event-stream")); !strings.HasPrefix(got, "HTTP/1.1 429 ") {
		t.Errorf("believed without a trusted proxy: %.80q", got)
	}
}

// The page, probes and HEAD need nobody's key; HEAD has no body and, on a
// stream, takes no seat.
func TestOpenRoutesAndHead(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for _, path := range []string{"/", "/assets/client.js", "/healthz", "/readyz", "/v1/openapi.json"} {
		if a := n.ask(t, http.MethodGet, path, "", ""); a.status != 200 || len(a.body) == 0 {
			t.Errorf("GET %s: %d", path, a.status)
		}
		if a := n.ask(t, http.MethodHead, path, "", ""); a.status != 200 || len(a.body) != 0 {
			t.Errorf("HEAD %s: %d with %d bytes", path, a.status, len(a.body))
		}
	}
	if a := n.ask(t, http.MethodGet, "/", "", ""); !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(string(a.body), "https://") {
		t.Error("the page may fetch from elsewhere")
	}
	a := n.ask(t, http.MethodHead, "/v1/apps/default/topics/t/events", n.admin, "", "Accept", "text/event-stream")
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") || n.hub.Stats().Subscribers != 0 {
		t.Errorf("HEAD of a stream: %d %v", a.status, a.header)
	}
	if got := n.raw(t, get("/healthz")); strings.Contains(got, "\r\nServer:") {
		t.Errorf("says what it is made of: %s", got)
	}
}

// RT-6: a Last-Event-ID that makes no sense gets one reset, since a browser
// cannot be told otherwise.
func TestSenselessLastEventID(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	r := n.sse(t, "/v1/apps/default/topics/t/events", "Authorization: Bearer "+n.admin, "Last-Event-ID: of/another/server")
	if f := frame(t, r); !strings.Contains(f, "event: hello\n") || !strings.Contains(f, `"resumed":false`) {
		t.Errorf("hello: %q", f)
	}
	if f := frame(t, r); !strings.HasPrefix(f, "event: reset\n") || strings.Contains(f, "id:") {
		t.Errorf("reset: %q", f)
	}
	if a := n.ask(t, http.MethodPost, "/v1/apps/default/topics/t/events", n.admin, "1"); a.status != 201 {
		t.Fatal(a.status)
	}
	if f := frame(t, r); !strings.HasPrefix(f, "id: ") {
		t.Errorf("then live: %q", f)
	}
}

// Bytes that follow the request for a stream are not another request.
func TestPipelinedBytesBehindAStream(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	head := "GET /v1/apps/default/topics/t/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer " + n.admin + "\r\n\r\n"
	if _, err := io.WriteString(conn, head+"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	b, _ := io.ReadAll(conn) // until the deadline: the stream stays silent
	if strings.Count(string(b), "HTTP/1.1 ") != 1 || !strings.Contains(string(b), "event: hello\n") {
		t.Errorf("%q", b)
	}
}

// However soon it is told to stop, a server that was told to serve ends.
func TestStopsHoweverEarly(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for range 200 {
		srv := httpapi.New(n.cfg)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- srv.Serve(ln) }()
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("it serves on after it was stopped")
		}
	}
}
