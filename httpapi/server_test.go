package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/store"
)

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
	if f := frame(t, r); !strings.Contains(f, "event: hello\n") || !strings.Contains(f, "retry: ") {
		t.Fatalf("first frame %q", f)
	}
	a := n.ask(t, "POST", path, n.key(t, "shop", picloud.ScopeAppPublish), "{\n \"n\": 1 }")
	var p api.Published
	if err := json.Unmarshal(a.body, &p); err != nil || a.status != 201 || p.Durability != "local" || p.Topic != "a/b" {
		t.Fatalf("publish: %d %s", a.status, a.body)
	}
	if f := frame(t, r); !strings.HasPrefix(f, "id: "+p.ID+"\ndata: {\"topic\":\"a/b\",\"data\":{\"n\":1},\"published_at\":\"") {
		t.Fatalf("frame %q", f)
	}
	batch := n.ask(t, "POST", "/v1/apps/shop/events", n.admin, `[{"topic":"a/b","data":2},{"topic":"internal","data":null}]`)
	var ps []api.Published
	if err := json.Unmarshal(batch.body, &ps); err != nil || batch.status != 201 || len(ps) != 2 {
		t.Fatalf("batch: %d %s", batch.status, batch.body)
	}
	resumed := n.sse(t, path, "Last-Event-ID: "+p.ID)
	if f := frame(t, resumed); !strings.Contains(f, `"resumed":true`) {
		t.Fatalf("hello frame %q", f)
	}
	if f := frame(t, resumed); !strings.HasPrefix(f, "id: "+ps[0].ID+"\n") {
		t.Fatalf("resumed with %q, want %s", f, ps[0].ID)
	}
	h := n.ask(t, "GET", "/v1/apps/shop/events?topic=a%2Fb&topic=internal&limit=2", n.admin, "")
	var page api.History
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
		var k api.CreatedKey
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
	var list api.Keys
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
		var tok api.Token
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
	if f := frame(t, r); !strings.HasPrefix(f, "event: expired\n") || !strings.Contains(f, `data: {"reason":"topic","topic":"t"}`) {
		t.Errorf("made internal: %q", f)
	}
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
	node, err := store.Restore(store.Config{Dir: filepath.Join(t.TempDir(), "d")}, store.Archived{From: bytes.NewReader(a.body)})
	if err != nil || node.ID != n.store.Node().ID {
		t.Errorf("restore of %d bytes: %v", len(a.body), err)
	}
}
