package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
)

// A page can import the client from any node, and is not sent it again while it is the same.
func TestClientIsServed(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	a := n.ask(t, http.MethodGet, "/assets/client.js", "", "")
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/javascript") || !strings.Contains(string(a.body), "createClient") {
		t.Fatalf("%d %v %.80q", a.status, a.header, a.body)
	}
	if got := a.header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("pages of other origins: %q", got)
	}
	again := n.ask(t, http.MethodGet, "/assets/client.js", "", "", "If-None-Match", a.header.Get("ETag"))
	if again.status != 304 || len(again.body) != 0 {
		t.Errorf("with its tag: %d, %d bytes", again.status, len(again.body))
	}
}
