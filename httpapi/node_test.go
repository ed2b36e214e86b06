package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/auth"
	"github.com/picloud/picloud/budget"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/httpapi"
	"github.com/picloud/picloud/hw/sensor"
	"github.com/picloud/picloud/publish"
	"github.com/picloud/picloud/realtime"
	"github.com/picloud/picloud/script"
	"github.com/picloud/picloud/scrub"
	"github.com/picloud/picloud/sdk"
	"github.com/picloud/picloud/store"
)

// node is the whole of a node below the daemon, on a real port and a real Unix
// socket.
type node struct {
	url    string
	addr   string
	secure string // address of the port for TLS; empty: there is no certificate
	store  *store.Store
	hub    *realtime.Hub
	auth   *auth.Authority
	local  *http.Client
	admin  string // an API key with instance:admin
	server *httpapi.Server
	cfg    httpapi.Config
}

func newNode(tb testing.TB, change ...func(*httpapi.Config)) *node {
	tb.Helper()
	dir := tb.TempDir()
	st, err := store.Open(store.Config{Dir: dir, ReserveBytes: -1, SegmentSize: 2 << 20})
	if err != nil {
		tb.Fatal(err)
	}
	authority := auth.New(auth.Config{Keys: st})
	hub, err := realtime.New(realtime.Config{History: st, Node: st.Node().ID, MaxSubscribers: 20, WriteTimeout: time.Hour}) // on a busy machine readers wait long
	if err != nil {
		tb.Fatal(err)
	}
	st.SetBroadcaster(hub)
	cfg := httpapi.Config{
		Store: st, Publisher: publish.New(publish.Config{Committer: st}), Hub: hub, Authority: authority,
		Version: "1.2.3", Commit: "abc", ReadTimeout: 2 * time.Second, Metrics: metrics.NewSet(), Hosts: func() []string { return []string{"x", "node.example", "*.apps.example"} },
	}
	mint := func(ctx context.Context, by picloud.Principal, app string, topics []string, ttl time.Duration) (string, time.Time, error) {
		t, err := authority.Mint(ctx, by, app, topics, ttl)
		return t.Text, t.ExpiresAt, err
	}
	cfg.Budget = budget.New(16<<20, cfg.Metrics)
	cfg.Scripts = script.New(script.Config{
		Budget: cfg.Budget, Host: sdk.New(sdk.Config{Store: st, Publisher: cfg.Publisher, Mint: mint}), Record: func(r picloud.Run) string { return st.RecordRun(r).ID },
	})
	cfg.Sensors = sensor.New(sensor.Config{Simulated: true})
	cfg.Scrubber = scrub.New(scrub.Config{Store: st})
	cfg.Dispatcher = dispatch.NewDispatcher(dispatch.DispatcherConfig{Outbox: st})
	for _, c := range change {
		c(&cfg)
	}
	srv := httpapi.New(cfg)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	unix, err := net.Listen("unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	storeCtx, stopStore := context.WithCancel(context.Background())
	hubCtx, stopHub := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	stored := make(chan error, 1)
	go func() { stored <- st.Run(storeCtx) }()
	run := func(what func() error) {
		wg.Go(func() {
			if err := what(); err != nil {
				tb.Error(err)
			}
		})
	}
	run(func() error { return hub.Run(hubCtx) })
	run(func() error { return cfg.Scripts.Run(hubCtx) })
	run(func() error { return cfg.Scrubber.Run(hubCtx) })
	run(func() error { return srv.Serve(tcp) })
	run(func() error { return srv.ServeLocal(unix) })
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopHub()
		if err := srv.Shutdown(ctx); err != nil {
			tb.Errorf("shutdown: %v", err)
		}
		wg.Wait()
		for _, u := range cfg.Budget.Usage() {
			if u.Held != 0 {
				tb.Errorf("at rest %s hold %d bytes (SR-1)", u.Holder, u.Held)
			}
		}
		stopStore()
		if err := errors.Join(<-stored, st.Close()); err != nil {
			tb.Error(err)
		}
	})
	secure := ""
	if cfg.Certificate != nil {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		secure = ln.Addr().String()
		run(func() error { return srv.ServeTLS(ln) })
	}
	n := &node{secure: secure, url: "http://" + tcp.Addr().String(), addr: tcp.Addr().String(), store: st, hub: hub, auth: authority, server: srv, cfg: cfg}
	n.local = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	tb.Cleanup(n.local.CloseIdleConnections)
	n.admin = n.key(tb, "", picloud.ScopeInstanceAdmin)
	return n
}

// key makes an API key.
func (n *node) key(tb testing.TB, app string, scopes ...picloud.Scope) string {
	tb.Helper()
	_, text, err := n.auth.IssueKey(context.Background(), picloud.APIKey{App: app, Scopes: scopes})
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) problem() api.Problem {
	var p api.Problem
	_ = json.Unmarshal(a.body, &p)
	return p
}

// ask sends a request over TCP; headers are pairs.
func (n *node) ask(t *testing.T, method, path, key, body string, headers ...string) *answer {
	t.Helper()
	return n.askWith(t, http.DefaultClient, n.url, method, path, key, body, headers...)
}

func (n *node) askWith(t *testing.T, c *http.Client, base, method, path, key, body string, headers ...string) *answer {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{status: res.StatusCode, header: res.Header, body: b}
}

// raw sends bytes and returns everything that comes back, without the date.
func (n *node) raw(t *testing.T, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.SplitSeq(string(b), "\r\n") {
		if !strings.HasPrefix(line, "Date: ") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\r\n")
}

func get(path string, headers ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
}

// sse opens a stream.
func (n *node) sse(t *testing.T, path string, headers ...string) *bufio.Reader {
	t.Helper()
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"+strings.Join(append(headers, ""), "\r\n")+"\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(conn)
	head := readUntil(t, r, "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") || !strings.Contains(head, "Content-Type: text/event-stream") ||
		!strings.Contains(head, "Cache-Control: no-store") || !strings.Contains(head, "X-Accel-Buffering: no") {
		t.Fatalf("head %q", head)
	}
	return r
}

func readUntil(t *testing.T, r *bufio.Reader, end string) string {
	t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), end) {
		c, err := r.ReadByte()
		if err != nil {
			t.Fatalf("%v after %q", err, b.String())
		}
		b.WriteByte(c)
	}
	return b.String()
}

// frame reads the next frame that is not a comment.
func frame(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	for {
		if f := readUntil(t, r, "\n\n"); strings.Contains(f, "data: ") {
			return f
		}
	}
}
