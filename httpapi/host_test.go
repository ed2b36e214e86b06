package httpapi_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/httpapi"
)

// to is a request for a path with a Host header, and further headers.
func to(host, path string, headers ...string) string {
	return strings.Replace(get(path, headers...), "Host: x", "Host: "+host, 1)
}

// A page of another site whose name is made to lead to the node (DNS rebinding) gets
// nothing: only names of this node are answered, whatever port they come with.
func TestOnlyKnownHostsAreAnswered(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for status, hosts := range map[string][]string{
		"200": {
			"127.0.0.1", "192.168.1.7:7420", "[::1]", "[fe80::1]:7420", "localhost", "LOCALHOST.:80", "pi.localhost",
			"x", "X.", "Node.Example:443", "shop.apps.example", "a.b.apps.example.",
		},
		"421": {
			"evil.example", "node.example.evil", "x.evil.example", "apps.example", ".apps.example", "xapps.example", "localhost.evil.example",
			"notlocalhost", "127.0.0.1.evil.example", "2130706433", "0x7f.1", "x@evil.example", "evil.example,x", "x..",
		},
		"400": {"::1", "[::1", "[::1]x", "[127.0.0.1]", "[x]", "x:80:80", "x:http", "x/"},
	} {
		for _, host := range hosts {
			if got := n.raw(t, to(host, "/readyz")); !strings.HasPrefix(got, "HTTP/1.1 "+status+" ") {
				t.Errorf("Host %q: %.40q, want %s", host, got, status)
			}
		}
	}
}

// AU-6: the refusal comes before everything else and is the same for every request;
// it allows no origin, and says which setting is missing.
func TestUnknownHostGetsOneRefusal(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if _, err := n.store.UpdateApp(t.Context(), "default", picloud.AppPatch{AllowedOrigins: &[]string{"*"}}); err != nil {
		t.Fatal(err)
	}
	first := n.raw(t, to("evil.example", "/"))
	if !strings.Contains(first, "urn:picloud:problem:host-unknown") || !strings.Contains(first, "http.allowed_hosts") || strings.Contains(first, "evil.example") {
		t.Errorf("the refusal is %s", first)
	}
	const origin = "Origin: http://evil.example"
	for name, request := range map[string]string{
		"a topic":              to("evil.example", "/v1/apps/default/topics/t/events", origin, "Accept: text/event-stream"),
		"an endpoint":          to("evil.example", "/apps/default/x", origin),
		"an operator":          to("evil.example", "/v1/node", "Authorization: Bearer "+n.admin),
		"a bad key":            to("evil.example", "/v1/node", "Authorization: Bearer pck_a_b"),
		"no such route":        to("evil.example", "/nothing", origin),
		"a bad path":           to("evil.example", "/%zz"),
		"a preflight":          strings.Replace(to("evil.example", "/v1/apps/default/topics", origin, "Access-Control-Request-Method: POST"), "GET", "OPTIONS", 1),
		"the target in full":   to("x", "http://evil.example/v1/node"),
		"credentials in front": to("x", "http://x@evil.example/v1/node"),
		"a host that is not":   to("evil.example", "http://x/v1/node"),
		"another scheme":       to("evil.example", "https://evil.example/"),
		"healthz in disguise":  to("evil.example", "/%68ealthz"),
	} {
		if got := n.raw(t, request); got != first {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, first)
		}
	}
	if got := n.raw(t, "GET /readyz HTTP/1.0\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 421 ") {
		t.Errorf("HTTP/1.0 without a Host: %.80q", got)
	}
	for name, request := range map[string]string{
		"no Host":       "GET /readyz HTTP/1.1\r\nConnection: close\r\n\r\n",
		"an empty Host": to("", "/readyz"),
		"two Hosts":     to("x\r\nHost: x", "/readyz"),
	} {
		if got := n.raw(t, request); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%s: %.80q", name, got)
		}
	}
	if got := n.raw(t, to("evil.example", "/healthz")); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("healthz: %.80q", got)
	}
	if got := n.raw(t, to("x", "http://x:7420/readyz")); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("the target in full: %.80q", got)
	}
	if a := n.askWith(t, n.local, "http://picloud", http.MethodGet, "/v1/node", "", ""); a.status != 200 {
		t.Errorf("the operator's socket: %d %s", a.status, a.body)
	}
}

// A trusted proxy that sends a Host of its own tells the one it was asked for, which
// is checked, too. Of others the header means nothing.
func TestForwardedHost(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(c *httpapi.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	for line, want := range map[string]string{"node.example": "200", "evil.example": "421", "node.example, evil.example": "421", "node.example\r\nX-Forwarded-Host: evil.example": "421"} {
		if got := n.raw(t, to("127.0.0.1:7420", "/readyz", "X-Forwarded-Host: "+line)); !strings.HasPrefix(got, "HTTP/1.1 "+want+" ") {
			t.Errorf("X-Forwarded-Host %q: %.40q, want %s", line, got, want)
		}
	}
	if got := newNode(t).raw(t, to("x", "/readyz", "X-Forwarded-Host: evil.example")); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("without a trusted proxy: %.40q", got)
	}
}
