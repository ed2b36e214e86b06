package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

const kvPath = "/v1/apps/default/kv/"

// KV-1 as a front-end developer meets it: set, read, read again only when it has
// changed, compare and set, increment, list in pages, delete.
func TestKeyValue(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	want := func(a *answer, status int, body string) {
		t.Helper()
		if a.status != status || (body != "" && string(a.body) != body) {
			t.Fatalf("%d %s, want %d %s", a.status, a.body, status, body)
		}
	}
	first := n.ask(t, "PUT", kvPath+"lamp%2F1", n.admin, ` {"on": true} `, "If-None-Match", "*")
	want(first, 200, "")
	tag := first.header.Get("ETag")
	got := n.ask(t, "GET", kvPath+"lamp%2F1", n.admin, "")
	want(got, 200, `{"on":true}`)
	if got.header.Get("ETag") != tag || got.header.Get("Content-Type") != "application/json" || got.header.Get("Expires") != "" {
		t.Errorf("headers %v", got.header)
	}
	want(n.ask(t, "GET", kvPath+"lamp%2F1", n.admin, "", "If-None-Match", tag), 304, "")
	want(n.ask(t, "PUT", kvPath+"lamp%2F1", n.admin, `1`, "If-None-Match", "*"), 412, "")
	second := n.ask(t, "PUT", kvPath+"lamp%2F1", n.admin, `1`, "If-Match", tag)
	want(second, 200, "")
	want(n.ask(t, "PUT", kvPath+"lamp%2F1", n.admin, `2`, "If-Match", tag), 412, "")
	want(n.ask(t, "GET", kvPath+"lamp%2F1", n.admin, "", "If-None-Match", tag), 200, "1")
	want(n.ask(t, "DELETE", kvPath+"lamp%2F1", n.admin, "", "If-Match", tag), 412, "")
	want(n.ask(t, "DELETE", kvPath+"lamp%2F1", n.admin, "", "If-Match", second.header.Get("ETag")), 204, "")
	want(n.ask(t, "GET", kvPath+"lamp%2F1", n.admin, ""), 404, "")
	want(n.ask(t, "DELETE", kvPath+"lamp%2F1", n.admin, ""), 404, "")

	want(n.ask(t, "PUT", kvPath+"raw", n.admin, "\x00\xff", "Content-Type", "application/octet-stream"), 200, "")
	if got := n.ask(t, "GET", kvPath+"raw", n.admin, ""); got.header.Get("Content-Type") != "application/octet-stream" || string(got.body) != "\x00\xff" {
		t.Errorf("bytes came back as %q %v", got.body, got.header)
	}
	want(n.ask(t, "PUT", kvPath+"raw", n.admin, "", "Content-Type", "application/octet-stream"), 200, "")

	var e api.Entry
	for i, body := range []string{`{"by":5,"ttl_sec":60}`, ``, `{"by":-2}`} {
		a := n.ask(t, "POST", kvPath+"visits/increment", n.admin, body)
		if err := json.Unmarshal(a.body, &e); err != nil || a.status != 200 || string(e.Value) != []string{"5", "6", "4"}[i] || e.ExpiresAt.IsZero() {
			t.Fatalf("increment: %d %s", a.status, a.body)
		}
	}
	want(n.ask(t, "PUT", kvPath+"gone?ttl_sec=60", n.admin, `1`), 200, "")
	if got := n.ask(t, "GET", kvPath+"gone", n.admin, ""); !strings.HasSuffix(got.header.Get("Expires"), " GMT") {
		t.Errorf("Expires %q", got.header.Get("Expires"))
	}

	for i := range 5 {
		want(n.ask(t, "PUT", fmt.Sprintf("%slist%%2F%d", kvPath, i), n.admin, fmt.Sprint(i)), 200, "")
	}
	var keys []string
	path := "/v1/apps/default/kv?prefix=list%2F&limit=2"
	for path != "" {
		var page api.Entries
		a := n.ask(t, "GET", path, n.admin, "")
		if err := json.Unmarshal(a.body, &page); err != nil || a.status != 200 || len(page.Entries) > 2 {
			t.Fatalf("list: %d %s", a.status, a.body)
		}
		for _, e := range page.Entries {
			keys = append(keys, e.Key+"="+string(e.Value))
		}
		if path = ""; page.Next != nil {
			path = *page.Next
		}
	}
	if got := fmt.Sprint(keys); got != "[list/0=0 list/1=1 list/2=2 list/3=3 list/4=4]" {
		t.Errorf("listed %s", got)
	}
}

// What cannot be is refused with what to do, and changes nothing.
func TestKeyValueRefusals(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	reader, writer := n.key(t, "default", picloud.ScopeAppRead), n.key(t, "default", picloud.ScopeAppWrite)
	for _, c := range []struct {
		method, path, key, body string
		header                  []string
		status                  int
		kind                    string
	}{
		{"PUT", "k", n.admin, `{`, nil, 400, "data-invalid"},
		{"PUT", "k", n.admin, ` `, nil, 400, "data-invalid"},
		{"PUT", "k", n.admin, `1`, []string{"Content-Type", "text/plain"}, 415, "content-type"},
		{"PUT", "k?ttl_sec=0", n.admin, `1`, nil, 422, "ttl-invalid"},
		{"PUT", "k?ttl_sec=99999999999999999", n.admin, `1`, nil, 422, "ttl-invalid"},
		{"PUT", "k", n.admin, `1`, []string{"If-Match", "W/\"1\""}, 412, "precondition-failed"},
		{"PUT", "k", n.admin, `1`, []string{"If-Match", "*"}, 412, "precondition-failed"},
		{"PUT", strings.Repeat("k", 600), n.admin, `1`, nil, 422, "kv-key-invalid"},
		{"PUT", "k", reader, `1`, nil, 403, "forbidden"},
		{"GET", "k", writer, ``, nil, 403, "forbidden"},
		{"PUT", "k", "", `1`, nil, 401, "unauthenticated"},
		{"PUT", "k", n.admin, `"` + strings.Repeat("x", 1<<20) + `"`, nil, 413, "kv-too-large"},
		{"POST", "k/increment", n.admin, `{"by":1.5}`, nil, 400, "body-invalid"},
		{"POST", "k/increment", n.admin, `{"ttl_sec":-1}`, nil, 422, "ttl-invalid"},
	} {
		a := n.ask(t, c.method, kvPath+c.path, c.key, c.body, c.header...)
		if a.status != c.status || !strings.HasSuffix(a.problem().Type, ":"+c.kind) {
			t.Errorf("%s %.40s: %d %s, want %d %s", c.method, c.path, a.status, a.body, c.status, c.kind)
		}
	}
	if a := n.ask(t, "GET", "/v1/apps/default/kv", n.admin, ""); string(a.body) != `{"entries":[],"next":null}`+"\n" {
		t.Errorf("something was stored: %s", a.body)
	}
}
