package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/sdk"
)

// names resolves hosts as a DNS server that answers what it likes would; each name
// gets the addresses of its list in turn, the last one for good.
type names map[string][]string

// LookupNetIP implements sdk.Resolver.
func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	list := n[host]
	if len(list) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(list) > 1 {
		n[host] = list[1:]
	}
	return []netip.Addr{netip.MustParseAddr(list[0])}, nil
}

// ask fetches a URL as a script does.
func ask(t *testing.T, cfg sdk.Config, target string, options ...any) error {
	t.Helper()
	args := make([]json.RawMessage, 0, 1+len(options))
	for _, v := range append([]any{target}, options...) {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, raw)
	}
	_, err := sdk.New(cfg).Call(t.Context(), picloud.ScriptCall{App: "a", Script: "s", Module: "http", Method: "fetch", Args: args})
	return err
}

func refused(err error) bool {
	var e *picloud.Error
	return errors.As(err, &e) && e.Type == "http-not-allowed"
}

// SC-4: that any host may be asked does not open this machine to scripts, by
// whatever name; allowing it by its address does.
func TestAnyHostIsNotThisMachine(t *testing.T) {
	t.Parallel()
	site, err := url.Parse(website(t))
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(host string, allowed ...string) error {
		return ask(t, sdk.Config{HTTPHosts: allowed}, "http://"+host+":"+site.Port()+"/bytes")
	}
	for _, host := range []string{
		"127.0.0.1", "127.0.0.2", "localhost", "localhost.", "[::1]", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
		"2130706433", "169.254.169.254", "[fe80::1]", "[fe80::1%25lo]",
	} {
		if err := fetch(host, "*"); err == nil {
			t.Errorf("%s was reached", host)
		}
	}
	for _, host := range []string{"127.0.0.1", "localhost"} {
		if err := fetch(host, host); err != nil {
			t.Errorf("%s was allowed and not reached: %v", host, err)
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own { // on a machine without a network there is the loopback alone
		ip, _, err := net.ParseCIDR(a.String())
		if err != nil || ip.To4() == nil {
			continue
		}
		if err := fetch(ip.String(), "*"); !refused(err) {
			t.Errorf("%v, an address of this machine: %v", ip, err)
		}
	}
	if err := fetch("example.org", "*.example.org", "example.com"); !refused(err) {
		t.Errorf("a host that is not allowed: %v", err)
	}
}

// SC-4: an entry opens its own address and port, and lends neither to the entries
// beside it, whatever names resolve to.
func TestEntryOpensItsOwnPort(t *testing.T) {
	t.Parallel()
	site, err := url.Parse(website(t))
	if err != nil {
		t.Fatal(err)
	}
	port := site.Port()
	for name, c := range map[string]struct {
		host    string
		allowed []string
		open    bool
	}{
		"address and port":           {"127.0.0.1", []string{"127.0.0.1:" + port}, true},
		"mapped address":             {"[::ffff:127.0.0.1]", []string{"127.0.0.1:" + port}, true},
		"localhost and port":         {"localhost", []string{"localhost:" + port}, true},
		"any, beside the address":    {"127.0.0.1", []string{"*", "127.0.0.1:" + port}, true},
		"another port":               {"127.0.0.1", []string{"127.0.0.1:1"}, false},
		"another port, beside any":   {"127.0.0.1", []string{"*", "127.0.0.1:1"}, false},
		"localhost, beside any":      {"localhost", []string{"*", "localhost:1"}, false},
		"another loopback address":   {"127.0.0.2", []string{"*", "127.0.0.1:" + port}, false},
		"name, beside the address":   {"inward.test", []string{"*", "127.0.0.1:" + port}, false},
		"allowed name leads inward":  {"inward.test", []string{"inward.test:" + port, "127.0.0.1"}, false},
		"domain leads inward":        {"a.inward.test", []string{"*.inward.test", "localhost"}, false},
		"localhost that is no other": {"inward.test", []string{"*", "localhost"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resolver := names{"localhost": {"127.0.0.1"}, "inward.test": {"127.0.0.1"}, "a.inward.test": {"127.0.0.1"}}
			err := ask(t, sdk.Config{HTTPHosts: c.allowed, Resolver: resolver}, "http://"+c.host+":"+port+"/bytes")
			if c.open && err != nil || !c.open && !refused(err) {
				t.Errorf("http://%s with %v: %v", c.host, c.allowed, err)
			}
		})
	}
}

// SC-4: each redirect is decided anew, by the rules and by what its host resolves to
// then.
func TestRedirectsAreDecidedAnew(t *testing.T) {
	t.Parallel()
	var port string
	reached := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached <- r.Host
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, "http://"+to+"/", http.StatusTemporaryRedirect)
		}
	}))
	t.Cleanup(server.Close)
	_, port, _ = net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	for _, to := range []string{"127.0.0.2:" + port, "127.0.0.1:1", "inward.test:" + port, "user:pass@127.0.0.1:" + port} {
		resolver := names{"inward.test": {"127.0.0.1"}}
		err := ask(t, sdk.Config{HTTPHosts: []string{"*", "127.0.0.1:" + port}, Resolver: resolver}, server.URL+"/?to="+url.QueryEscape(to))
		if !refused(err) {
			t.Errorf("a redirect to %s: %v", to, err)
		}
		if host := <-reached; host != "127.0.0.1:"+port || len(reached) > 0 {
			t.Errorf("a redirect to %s was followed", to)
		}
	}
}

// SC-4: credentials stay with the origin they were meant for.
func TestRedirectsKeepCredentials(t *testing.T) {
	t.Parallel()
	var heads []http.Header
	other := httptest.NewServer(nil)
	t.Cleanup(other.Close)
	first := httptest.NewServer(nil)
	t.Cleanup(first.Close)
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/same":
			http.Redirect(w, r, "/end?key=own", http.StatusTemporaryRedirect)
		case "/away":
			http.Redirect(w, r, other.URL+"/end", http.StatusTemporaryRedirect)
		case "/around":
			http.Redirect(w, r, other.URL+"/back", http.StatusTemporaryRedirect)
		case "/back":
			http.Redirect(w, r, first.URL+"/end", http.StatusTemporaryRedirect)
		case "/end":
			heads = append(heads, r.Header)
		}
	}
	first.Config.Handler, other.Config.Handler = http.HandlerFunc(handler), http.HandlerFunc(handler)
	credentials := []string{"Authorization", "Cookie", "X-Api-Key", "X-Own", "Proxy-Authorization"}
	headers := map[string]string{"Accept": "text/plain"}
	for _, name := range credentials {
		headers[name] = "hidden"
	}
	cfg := sdk.Config{HTTPHosts: []string{strings.TrimPrefix(first.URL, "http://"), strings.TrimPrefix(other.URL, "http://")}}
	for _, path := range []string{"/same", "/away", "/around"} {
		heads = nil
		if err := ask(t, cfg, first.URL+path+"?key=hidden", map[string]any{"method": "POST", "headers": headers, "body": "x"}); err != nil || len(heads) != 1 {
			t.Fatalf("%s: %d answers, %v", path, len(heads), err)
		}
		kept := slices.DeleteFunc(slices.Clone(credentials), func(name string) bool { return heads[0].Get(name) == "" })
		if path == "/same" {
			if len(kept) != len(credentials) {
				t.Errorf("%s: the same origin got only %v", path, kept)
			}
			continue
		}
		if len(kept) > 0 || heads[0].Get("Referer") != "" || heads[0].Get("Accept") != "text/plain" {
			t.Errorf("%s: another origin got %v", path, heads[0])
		}
	}
}
