package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
	"github.com/picloud/picloud/httpapi"
	"github.com/picloud/picloud/publish"
	"github.com/picloud/picloud/realtime"
	"github.com/picloud/picloud/store"
)

// node is the whole of a node below the daemon, on a real port and a real Unix
// socket.
type node struct {
	url    string
	addr   string
	store  *store.Store
	hub    *realtime.Hub
	auth   *auth.Authority
	local  *http.Client
	admin  string // an API key with instance:admin
	server *httpapi.Server
}

func newNode(tb testing.TB, change ...func(*httpapi.Config)) *node {
	tb.Helper()
	dir := tb.TempDir()
	st, err := store.Open(store.Config{Dir: dir, ReserveBytes: -1, SegmentSize: 2 << 20})
	if err != nil {
		tb.Fatal(err)
	}
	authority := auth.New(auth.Config{Keys: st})
	hub, err := realtime.New(realtime.Config{History: st, Node: st.Node().ID, MaxSubscribers: 20})
	if err != nil {
		tb.Fatal(err)
	}
	st.SetBroadcaster(hub)
	cfg := httpapi.Config{
		Store: st, Publisher: publish.New(publish.Config{Committer: st}), Hub: hub, Authority: authority,
		Version: "1.2.3", Commit: "abc", ReadTimeout: 2 * time.Second,
	}
	for _, c := range change {
		c(&cfg)
	}
	srv, err := httpapi.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
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
		stopStore()
		if err := errors.Join(<-stored, st.Close()); err != nil {
			tb.Error(err)
		}
	})
	n := &node{url: "http://" + tcp.Addr().String(), addr: tcp.Addr().String(), store: st, hub: hub, auth: authority, server: srv}
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

func (a *answer) problem() httpapi.Problem {
	var p httpapi.Problem
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
		if f := readUntil(t, r, "\n\n"); !strings.HasPrefix(f, ":") {
			return f
		}
	}
}

// The whole way: an app, a topic, a publish that says how durable it is (PB-6),
// a stream, a resume, the history (RT-11).
func TestPublishSubscribeResume(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if a := n.ask(t, "POST", "/v1/apps", n.admin, `{"name":"shop","allowed_origins":["https://x.example"]}`); a.status != 201 {
		t.Fatalf("create app: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "POST", "/v1/apps/shop/topics", n.admin, `{"name":"a/b","external":true,"auth_mode":"public"}`); a.status != 201 {
		t.Fatalf("create topic: %d %s", a.status, a.body)
	}
	const path = "/v1/apps/shop/topics/a%2Fb/events"
	r := n.sse(t, path, "Origin: https://x.example")
	if f := frame(t, r); !strings.Contains(f, "event: open\n") || !strings.Contains(f, "retry: ") {
		t.Fatalf("first frame %q", f)
	}
	a := n.ask(t, "POST", path, n.key(t, "shop", picloud.ScopeAppPublish), "{\n \"n\": 1 }")
	var p httpapi.Published
	if err := json.Unmarshal(a.body, &p); err != nil || a.status != 201 || p.Durability != "local" || p.Topic != "a/b" {
		t.Fatalf("publish: %d %s", a.status, a.body)
	}
	if f := frame(t, r); !strings.HasPrefix(f, "id: "+p.ID+"\ndata: {\"topic\":\"a/b\",\"data\":{\"n\":1},\"published_at\":\"") {
		t.Fatalf("frame %q", f)
	}
	batch := n.ask(t, "POST", "/v1/apps/shop/events", n.admin, `[{"topic":"a/b","data":2},{"topic":"internal","data":null}]`)
	var ps []httpapi.Published
	if err := json.Unmarshal(batch.body, &ps); err != nil || batch.status != 201 || len(ps) != 2 {
		t.Fatalf("batch: %d %s", batch.status, batch.body)
	}
	resumed := n.sse(t, path, "Last-Event-ID: "+p.ID)
	if f := frame(t, resumed); !strings.Contains(f, `"resumed":true`) {
		t.Fatalf("open frame %q", f)
	}
	if f := frame(t, resumed); !strings.HasPrefix(f, "id: "+ps[0].ID+"\n") {
		t.Fatalf("resumed with %q, want %s", f, ps[0].ID)
	}
	h := n.ask(t, "GET", "/v1/apps/shop/events?topic=a%2Fb&topic=internal&limit=2", n.admin, "")
	var page httpapi.History
	if err := json.Unmarshal(h.body, &page); err != nil || len(page.Events) != 2 || page.Next == nil {
		t.Fatalf("history: %d %s", h.status, h.body)
	}
	h = n.ask(t, "GET", *page.Next, n.admin, "")
	if err := json.Unmarshal(h.body, &page); err != nil || len(page.Events) != 1 || page.Next != nil || string(page.Events[0].Data) != "null" {
		t.Fatalf("second page: %d %s", h.status, h.body)
	}
	if e := n.ask(t, "GET", "/v1/apps/shop/events/"+p.ID, n.admin, ""); e.status != 200 || !bytes.Contains(e.body, []byte(`"durability":"local"`)) {
		t.Errorf("event: %d %s", e.status, e.body)
	}
	if e := n.ask(t, "GET", path, "", ""); e.status != 200 || !bytes.Contains(e.body, []byte(p.ID)) {
		t.Errorf("public history: %d %s", e.status, e.body)
	}
}

// RT-2, RT-3, AU-6: what outsiders get does not tell a missing app from a
// missing or an internal topic, nor one bad token from another.
func TestRefusalsAreByteIdentical(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for _, body := range []string{`{"name":"internal"}`, `{"name":"closed","external":true}`, `{"name":"other","external":true}`} {
		if a := n.ask(t, "POST", "/v1/apps/default/topics", n.admin, body); a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if a := n.ask(t, "POST", "/v1/apps", n.admin, `{"name":"two"}`); a.status != 201 {
		t.Fatal(a.status)
	}
	if a := n.ask(t, "POST", "/v1/apps/two/topics", n.admin, `{"name":"closed","external":true}`); a.status != 201 {
		t.Fatal(a.status)
	}
	token := func(app, topic string) string {
		tok, err := n.auth.Mint(context.Background(), picloud.LocalOperator(), app, []string{topic}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return tok.Text
	}
	good := token("default", "closed")
	const sse = "Accept: text/event-stream"
	path := func(app, topic, query string) string {
		return "/v1/apps/" + app + "/topics/" + topic + "/events" + query
	}
	foreignKey := n.key(t, "two", picloud.ScopeAppRead)
	same := func(name string, requests ...string) {
		first := n.raw(t, requests[0])
		for i, r := range requests[1:] {
			if got := n.raw(t, r); got != first {
				t.Errorf("%s: request %d got\n%s\nthe first got\n%s", name, i+1, got, first)
			}
		}
	}
	same("not found",
		get(path("default", "missing", ""), sse),
		get(path("default", "internal", ""), sse),
		get(path("nobody", "closed", ""), sse),
		get(path("default", "internal", "?token="+good), sse),
		get(path("default", "internal", ""), sse, "Authorization: Bearer "+good),
		get(path("default", "$board", ""), sse),
		get(path("default", "internal", ""), sse, "Authorization: Bearer "+foreignKey),
		get(path("default", "missing", "")),
		get("/v1/apps/default/events?topic=closed&topic=internal", sse),
	)
	broken := good[:len(good)-4] + "AAAA"
	same("unauthenticated",
		get(path("default", "closed", ""), sse),
		get(path("default", "closed", "?token=x"), sse),
		get(path("default", "closed", "?token="+broken), sse),
		get(path("default", "closed", "?token="+token("two", "closed")), sse),
		get(path("default", "closed", "?token="+token("default", "other")), sse),
		get(path("default", "closed", "?token="+n.admin), sse),
		get(path("default", "closed", ""), sse, "Authorization: Bearer "+broken),
		get(path("default", "closed", "?token="+good), sse, "Authorization: Bearer x"),
		get(path("default", "closed", "?token="+good), sse, "Authorization: Basic eDp5"),
		get(path("default", "closed", ""), sse, "Authorization: Bearer pck_aaaaaaaaaa_b"),
		get(path("default", "internal", ""), sse, "Authorization: Bearer pck_aaaaaaaaaa_b"),
		get(path("default", "closed", "?token="+good)), // a query token is for streams alone
		get(path("default", "closed", ""), sse, "Authorization: Bearer "+foreignKey),
		get("/v1/node"),
		get("/v1/apps/default/topics"),
		get("/v1/apps/nobody/topics"),
		get("/v1/keys", "Authorization: Bearer "+good),
	)
	n.sse(t, path("default", "closed", "?token="+good))
	n.sse(t, path("default", "closed", ""), "Authorization: Bearer "+good)
	n.sse(t, path("default", "internal", ""), "Authorization: Bearer "+n.key(t, "default", picloud.ScopeAppRead))
	same("app not found",
		get("/v1/apps/default/topics", "Authorization: Bearer "+foreignKey),
		get("/v1/apps/nobody/topics", "Authorization: Bearer "+foreignKey),
	)
}

// AU-1: every route for every kind of principal.
func TestRoutesByPrincipal(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	routes := map[string]picloud.Scope{
		"GET /v1/apps/default":                      picloud.ScopeAppRead,
		"PATCH /v1/apps/default":                    picloud.ScopeAppAdmin,
		"GET /v1/apps/default/topics":               picloud.ScopeAppRead,
		"POST /v1/apps/default/topics":              picloud.ScopeAppAdmin,
		"GET /v1/apps/default/topics/t":             picloud.ScopeAppRead,
		"PATCH /v1/apps/default/topics/t":           picloud.ScopeAppAdmin,
		"DELETE /v1/apps/default/topics/t":          picloud.ScopeAppAdmin,
		"PATCH /v1/apps/default/topics/t/external":  picloud.ScopeAppAdmin,
		"POST /v1/apps/default/topics/t/events":     picloud.ScopeAppPublish,
		"POST /v1/apps/default/events":              picloud.ScopeAppPublish,
		"GET /v1/apps/default/events/00c3a91e42.1":  picloud.ScopeAppRead,
		"POST /v1/apps/default/subscriber-tokens":   picloud.ScopeAppPublish,
		"GET /v1/apps/default/signing-keys":         picloud.ScopeAppAdmin,
		"POST /v1/apps/default/signing-keys":        picloud.ScopeAppAdmin,
		"POST /v1/apps/default/signing-keys/rotate": picloud.ScopeAppAdmin,
		"POST /v1/apps":                             picloud.ScopeInstanceAdmin,
		"DELETE /v1/apps/default":                   picloud.ScopeInstanceAdmin,
		"GET /v1/node":                              picloud.ScopeInstanceRead,
		"GET /v1/backup":                            picloud.ScopeInstanceAdmin,
		"GET /metrics":                              picloud.ScopeInstanceRead,
	}
	if _, err := n.store.CreateApp(context.Background(), picloud.App{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	ofOther := n.key(t, "other", picloud.ScopeAppAdmin)
	keys := map[picloud.Scope]string{}
	for _, s := range picloud.Scopes() {
		app := "default"
		if s.Instance() {
			app = ""
		}
		keys[s] = n.key(t, app, s)
	}
	for spec, need := range routes {
		method, path, _ := strings.Cut(spec, " ")
		body := ""
		if method != "GET" {
			body = `{"nonsense":true}`
		}
		if got := n.ask(t, method, path, "", body).status; got != 401 {
			t.Errorf("%s anonymous: %d", spec, got)
		}
		if strings.Contains(path, "default") {
			if got := n.ask(t, method, path, ofOther, body); got.status != 404 && got.status != 403 {
				t.Errorf("%s key of another app: %d", spec, got.status)
			}
		}
		for scope, key := range keys {
			if method == "DELETE" {
				continue // would change what the others see
			}
			got := n.ask(t, method, path, key, body)
			allowed := scope == need || scope == picloud.ScopeInstanceAdmin || (scope == picloud.ScopeAppAdmin && !need.Instance())
			if refused := got.status == 401 || got.status == 403 || got.problem().Type == "urn:picloud:problem:app-not-found"; refused == allowed {
				t.Errorf("%s with %s: %d %s", spec, scope, got.status, got.body)
			}
		}
		if method == "DELETE" {
			continue
		}
		if got := n.askWith(t, n.local, "http://node", method, path, "", body); got.status == 401 || got.status == 403 {
			t.Errorf("%s local operator: %d", spec, got.status)
		}
	}
}

// PB-4, TP-2, TP-3: each fault has its own problem document, and nothing is
// stored.
func TestBadInputHasItsOwnProblem(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if a := n.ask(t, "POST", "/v1/apps/default/topics", n.admin, `{"name":"t"}`); a.status != 201 {
		t.Fatal(a.status)
	}
	big := `"` + strings.Repeat("x", 256<<10) + `"`
	huge := `"` + strings.Repeat("x", 3<<20) + `"`
	many := "[" + strings.TrimSuffix(strings.Repeat(`{"topic":"t","data":1},`, 1001), ",") + "]"
	events := "/v1/apps/default/topics/t/events"
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		kind                     string
	}{
		{"no JSON", "POST", events, `{"a":`, nil, 400, "data-invalid"},
		{"two values", "POST", events, `1 2`, nil, 400, "data-invalid"},
		{"empty", "POST", events, ` `, nil, 400, "data-invalid"},
		{"no UTF-8", "POST", events, "\"\xff\"", nil, 400, "data-invalid"},
		{"content type", "POST", events, `1`, []string{"Content-Type", "text/plain"}, 415, "content-type"},
		{"too large", "POST", events, big, nil, 413, "data-too-large"},
		{"far too large", "POST", events, huge, nil, 413, "body-too-large"},
		{"topic with star", "POST", "/v1/apps/default/topics/a*/events", `1`, nil, 422, "topic-name-invalid"},
		{"topic too long", "POST", "/v1/apps/default/topics/" + strings.Repeat("a", 129) + "/events", `1`, nil, 422, "topic-name-invalid"},
		{"system topic", "POST", "/v1/apps/default/topics/$x/events", `1`, nil, 403, "topic-reserved"},
		{"topic with NUL", "POST", "/v1/apps/default/topics/a%00b/events", `1`, nil, 422, "topic-name-invalid"},
		{"idempotency key", "POST", events, `1`, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, "idempotency-key-invalid"},
		{"empty batch", "POST", "/v1/apps/default/events", `[]`, nil, 422, "batch-invalid"},
		{"large batch", "POST", "/v1/apps/default/events", many, nil, 422, "batch-invalid"},
		{"batch without data", "POST", "/v1/apps/default/events", `[{"topic":"t"}]`, nil, 422, "batch-invalid"},
		{"batch with a fault", "POST", "/v1/apps/default/events", `[{"topic":"t","data":1},{"topic":"*","data":1}]`, nil, 422, "topic-name-invalid"},
		{"batch is no array", "POST", "/v1/apps/default/events", `{"topic":"t"}`, nil, 400, "body-invalid"},
		{"unknown field", "POST", "/v1/apps", `{"name":"x","colour":1}`, nil, 400, "body-invalid"},
		{"wrong type", "POST", "/v1/apps", `{"name":1}`, nil, 400, "body-invalid"},
		{"trailing", "POST", "/v1/apps", `{"name":"x"}{}`, nil, 400, "body-invalid"},
		{"app name", "POST", "/v1/apps", `{"name":"X"}`, nil, 422, "app-name-invalid"},
		{"app exists", "POST", "/v1/apps", `{"name":"default"}`, nil, 409, "app-exists"},
		{"origin", "PATCH", "/v1/apps/default", `{"allowed_origins":["x"]}`, nil, 422, "app-invalid"},
		{"auth mode", "POST", "/v1/apps/default/topics", `{"name":"x","auth_mode":"none"}`, nil, 422, "topic-invalid"},
		{"external by patch", "PATCH", "/v1/apps/default/topics/t", `{"external":true}`, nil, 422, "external-has-its-own-endpoint"},
		{"external null", "PATCH", "/v1/apps/default/topics/t/external", `{}`, nil, 400, "body-invalid"},
		{"topic exists", "POST", "/v1/apps/default/topics", `{"name":"t"}`, nil, 409, "topic-exists"},
		{"no topic", "GET", "/v1/apps/default/topics/u", ``, nil, 404, "topic-not-found"},
		{"no scopes", "POST", "/v1/keys", `{"scopes":[]}`, nil, 422, "key-invalid"},
		{"bad scope", "POST", "/v1/keys", `{"scopes":["root"]}`, nil, 422, "key-invalid"},
		{"key of no app", "POST", "/v1/keys", `{"scopes":["app:read"],"app":"none"}`, nil, 404, "app-not-found"},
		{"no key", "DELETE", "/v1/keys/none", ``, nil, 404, "key-not-found"},
		{"token for no topic", "POST", "/v1/apps/default/subscriber-tokens", `{"topics":[]}`, nil, 422, "token-request-invalid"},
		{"token for a missing topic", "POST", "/v1/apps/default/subscriber-tokens", `{"topics":["u"]}`, nil, 422, "token-request-invalid"},
		{"bad event id", "GET", "/v1/apps/default/events/1", ``, nil, 400, "position-invalid"},
		{"no event", "GET", "/v1/apps/default/events/00c3a91e42.1", ``, nil, 404, "event-not-found"},
		{"bad since", "GET", events + "?since=yesterday", ``, nil, 400, "query-invalid"},
		{"bad limit", "GET", events + "?limit=0", ``, nil, 400, "query-invalid"},
		{"bad after", "GET", events + "?after=1", ``, nil, 400, "position-invalid"},
		{"foreign after", "GET", events + "?after=00c3a91e42.1", ``, nil, 410, "position-foreign"},
		{"no topics", "GET", "/v1/apps/default/events", ``, nil, 400, "query-invalid"},
		{"too many topics", "GET", "/v1/apps/default/events?" + manyTopics(65), ``, nil, 400, "query-invalid"},
		{"bad last_event_id", "GET", events + "?last_event_id=x", ``, []string{"Accept", "text/event-stream"}, 400, "position-invalid"},
		{"bad escape", "GET", "/v1/apps/default/topics/%zz", ``, nil, 400, "path-invalid"},
		{"no route", "GET", "/v2", ``, nil, 404, "no-such-route"},
		{"method", "PUT", "/v1/apps", `{}`, nil, 405, "method-not-allowed"},
	} {
		if c.name == "bad escape" {
			got := n.raw(t, get(c.path, "Authorization: Bearer "+n.admin))
			if !strings.HasPrefix(got, "HTTP/1.1 400") || !strings.Contains(got, "problem:"+c.kind) {
				t.Errorf("%s: %s", c.name, got)
			}
			continue
		}
		a := n.ask(t, c.method, c.path, n.admin, c.body, c.headers...)
		p := a.problem()
		if a.status != c.status || p.Type != "urn:picloud:problem:"+c.kind || p.Status != c.status || p.Title == "" ||
			a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s, want %d %s", c.name, a.status, a.body, c.status, c.kind)
		}
	}
	if head, err := n.store.Head("default"); err != nil || head.Seq != 0 {
		t.Errorf("something was stored: %v %v", head, err)
	}
}

func manyTopics(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "topic=t%d&", i)
	}
	return b.String()
}

// RT-12: only the app's origins may read, and preflights say what is allowed.
func TestCORS(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if a := n.ask(t, "PATCH", "/v1/apps/default", n.admin, `{"allowed_origins":["https://x.example"]}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	a := n.ask(t, "OPTIONS", "/v1/apps/default/topics/t/events", "", "", "Origin", "https://x.example", "Access-Control-Request-Method", "POST")
	if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != "https://x.example" || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "POST") ||
		!strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Authorization") || a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight %d %v", a.status, a.header)
	}
	if a = n.ask(t, "OPTIONS", "/v1/apps/default/topics/t/events", "", "", "Origin", "https://evil.example"); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight of another origin %v", a.header)
	}
	if a = n.ask(t, "GET", "/v1/apps/default/topics", "", "", "Origin", "https://x.example"); a.status != 401 || a.header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("a refusal cannot be read by the page: %d %v", a.status, a.header)
	}
}

// Keys and scopes cannot be widened by whoever manages the keys of one app
// (AU-2, AU-5).
func TestKeysStayWithinReach(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if a := n.ask(t, "POST", "/v1/apps", n.admin, `{"name":"two"}`); a.status != 201 {
		t.Fatal(a.status)
	}
	admin := n.key(t, "default", picloud.ScopeAppAdmin)
	for body, want := range map[string]int{
		`{"scopes":["app:read"]}`:                 201,
		`{"scopes":["app:read"],"app":"default"}`: 201,
		`{"scopes":["app:read"],"app":"two"}`:     404,
		`{"scopes":["instance:admin"]}`:           422,
		`{"scopes":["app:read"],"ttl_sec":-1}`:    422,
		`{"scopes":["app:read"],"ttl_sec":60}`:    201,
	} {
		a := n.ask(t, "POST", "/v1/keys", admin, body)
		if a.status != want {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
		if want != 201 {
			continue
		}
		var k httpapi.CreatedKey
		if err := json.Unmarshal(a.body, &k); err != nil || k.App == nil || *k.App != "default" || !strings.HasPrefix(k.Text, "pck_"+k.ID+"_") {
			t.Errorf("%s: %s", body, a.body)
		}
		if got := n.ask(t, "GET", "/v1/apps/default", k.Text, ""); got.status != 200 {
			t.Errorf("the new key gets %d", got.status)
		}
		if got := n.ask(t, "DELETE", "/v1/keys/"+k.ID, admin, ""); got.status != 204 {
			t.Errorf("revoke: %d %s", got.status, got.body)
		}
		if got := n.ask(t, "GET", "/v1/apps/default", k.Text, ""); got.status != 401 {
			t.Errorf("the revoked key gets %d", got.status)
		}
	}
	var list httpapi.Keys
	if err := json.Unmarshal(n.ask(t, "GET", "/v1/keys", admin, "").body, &list); err != nil || len(list.Keys) != 1 {
		t.Errorf("an app's admin sees %+v", list)
	}
	if err := json.Unmarshal(n.ask(t, "GET", "/v1/keys", n.admin, "").body, &list); err != nil || len(list.Keys) != 2 {
		t.Errorf("the instance's admin sees %+v", list)
	}
	if a := n.ask(t, "GET", "/v1/keys", n.key(t, "default", picloud.ScopeAppRead), ""); a.status != 403 {
		t.Errorf("a reader lists keys: %d", a.status)
	}
}

// RT-9: what ends a right ends the stream, over the whole way.
func TestStreamsEndWithTheirRight(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if a := n.ask(t, "POST", "/v1/apps/default/topics", n.admin, `{"name":"t","external":true}`); a.status != 201 {
		t.Fatal(a.status)
	}
	const path = "/v1/apps/default/topics/t"
	open := func() *bufio.Reader {
		var tok httpapi.Token
		a := n.ask(t, "POST", "/v1/apps/default/subscriber-tokens", n.admin, `{"topics":["t"]}`)
		if err := json.Unmarshal(a.body, &tok); err != nil {
			t.Fatalf("%d %s", a.status, a.body)
		}
		r := n.sse(t, path+"/events?token="+tok.Token)
		frame(t, r)
		return r
	}
	end := func(r *bufio.Reader, why string) {
		t.Helper()
		if f := frame(t, r); !strings.HasPrefix(f, "event: expired\n") || strings.Contains(f, "id:") {
			t.Errorf("%s: %q", why, f)
		}
	}
	r := open()
	if a := n.ask(t, "POST", "/v1/apps/default/signing-keys/rotate", n.admin, `{"overlap_sec":0}`); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	end(r, "key rotated away")
	r = open()
	if a := n.ask(t, "PATCH", path+"/external", n.admin, `{"external":false}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	end(r, "made internal")
	if a := n.ask(t, "PATCH", path+"/external", n.admin, `{"external":true}`); a.status != 200 {
		t.Fatal(a.status)
	}
	r = open()
	if a := n.ask(t, "DELETE", path, n.admin, ""); a.status != 204 {
		t.Fatal(a.status)
	}
	end(r, "topic deleted")
}

// RT-13: the limit of streams is told before the answer begins.
func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for range 16 { // the limit of one address
		n.sse(t, "/v1/apps/default/topics/t/events", "Authorization: Bearer "+n.admin)
	}
	a := n.ask(t, "GET", "/v1/apps/default/topics/t/events", n.admin, "", "Accept", "text/event-stream")
	if a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A head that never ends is cut, and costs nobody else anything.
func TestSlowHeadIsCut(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	if a := n.ask(t, "GET", "/healthz", "", ""); a.status != 200 {
		t.Errorf("meanwhile: %d", a.status)
	}
	_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("not cut: %v", err)
	}
	if len(b) > 0 && !bytes.Contains(b, []byte(" 408 ")) {
		t.Errorf("answer %s", b)
	}
}

// OP-6: a backup over HTTP is one that restores.
func TestBackupOverHTTP(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if a := n.ask(t, "POST", "/v1/apps/default/topics/t/events", n.admin, `1`); a.status != 201 {
		t.Fatal(a.status)
	}
	a := n.ask(t, "GET", "/v1/backup", n.admin, "")
	node, err := store.Restore(filepath.Join(t.TempDir(), "d"), bytes.NewReader(a.body))
	if err != nil || node.ID != n.store.Node().ID {
		t.Errorf("restore of %d bytes: %v", len(a.body), err)
	}
}
