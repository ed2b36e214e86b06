package e2e

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// clientPage is a page that reads two topics with tokens that it fetches, and notes what its client tells.
const clientPage = `import("NODE/assets/client.js").then(({createClient}) => {
	const seen = window.seen = {Count: 0, First: -1, Last: -1, Faults: [], Told: [], Restored: 0};
	const token = async (why) => {
		seen.Told.push("token " + why);
		if (why === "soon" && window.late) throw new Error("not before the end");
		return fetch("/token").then((res) => res.text());
	};
	const client = window.client = createClient({url: "NODE", app: "default", token: () => token("first"), onTokenExpired: token, lossless: true});
	client.on("reset", (r) => seen.Faults.push("reset " + r.reason));
	client.on("gap", (g) => seen.Faults.push("gap of " + g.missed));
	client.on("resumed", () => seen.Told.push("resumed"));
	client.on("bye", (e) => seen.Told.push("bye " + e.reason));
	client.on("expired", (e) => seen.Told.push(["expired", e.reason, e.topic].join(" ").trim()));
	client.on("state", (s) => seen.Told.push("state " + s.name));
	addEventListener("pageshow", (e) => seen.Restored += e.persisted);
	client.topic("extra").on("close", (e) => seen.Told.push(["extra", e?.status, e?.topic].join(" ")));
	client.topic("n").on("event", ({data}) => {
		if (seen.Count++ === 0) seen.First = data;
		else if (data !== seen.Last + 1) seen.Faults.push(data + " after " + seen.Last);
		seen.Last = data;
	});
	return "" + isSecureContext;
})`

// pageNotes is what such a page has noted.
type pageNotes struct {
	Count, First, Last, Restored int
	Faults, Told                 []string
}

// do sends a command of the DevTools protocol to a tab.
func (tab *clientTab) do(t *testing.T, method string, params map[string]any) {
	t.Helper()
	if err := tab.command(method, params, nil); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
}

// network makes the network of a tab slow, or takes it away; without arguments it is as it is.
func (tab *clientTab) network(t *testing.T, offline bool, latency time.Duration, bytesPerSec int) {
	t.Helper()
	conditions := map[string]any{"urlPattern": "", "offline": offline, "latency": latency.Milliseconds(), "downloadThroughput": bytesPerSec, "uploadThroughput": bytesPerSec}
	tab.do(t, "Network.emulateNetworkConditionsByRule", map[string]any{"matchedNetworkConditions": []any{conditions}})
	delete(conditions, "urlPattern")
	tab.do(t, "Network.overrideNetworkState", conditions)
}

// CL-2, CL-3, CL-4, CL-7: one page on plain HTTP, from a server of its own, reads 1 000 events a second with tokens of 10 seconds, through all that
// happens to a node, a token, a network and a page. Nothing is missing, nothing comes twice, in order. With
// PICLOUD_E2E_CLIENT=1m it reads in peace what is published in that time in the end, else 3 000 events.
func TestClientInAPage(t *testing.T) {
	t.Parallel()
	long, peace := time.Duration(0), 3000 // events
	if text := os.Getenv("PICLOUD_E2E_CLIENT"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
		peace = int(long.Seconds() * 1000)
	}
	n := startNode(t, "PICLOUD_HTTP_ALLOWED_HOSTS=pi.lan", "PICLOUD_REALTIME_BROADCAST_CAPACITY=10000")
	for _, topic := range []string{"n", "extra", "other"} {
		n.cli("topics", "create", topic, "--external", "--max-events", "1000000") // pauses between attempts grow up to 30 s
	}
	key := n.key("default", "app:publish", "app:admin")
	own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // the page's own server
		if r.URL.Path != "/token" {
			w.Header().Set("Content-Type", "text/html")
			return
		}
		a, err := n.request("POST", "/v1/apps/default/subscriber-tokens", key, `{"topics":["n","extra","other"],"ttl_sec":10}`)
		var token struct{ Token string }
		if err != nil || json.Unmarshal(a.body, &token) != nil || a.status != 201 {
			http.Error(w, "", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(token.Token))
	}))
	t.Cleanup(own.Close)
	_, port, err := net.SplitHostPort(own.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	from := "http://pi.lan:" + port
	n.cli("apps", "update", "default", "--origin", from)
	ctx, origin := lanBrowser(t, n, 5*time.Minute+2*long)
	page := newTab(ctx, t, from)
	if secure, err := page.evaluate(strings.ReplaceAll(clientPage, "NODE", origin)); err != nil || secure != "false" {
		t.Fatalf("a secure context (%s) proves nothing: %v", secure, err)
	}
	notes := func() (p pageNotes) {
		t.Helper()
		text, err := page.evaluate("JSON.stringify(seen)")
		if err == nil {
			err = json.Unmarshal([]byte(text), &p)
		}
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	told := func(all ...string) {
		t.Helper()
		for _, what := range all {
			until(t, "the client to tell "+what, func() bool { return slices.Contains(notes().Told, what) })
		}
		if _, err := page.evaluate(`seen.Told = [], ""`); err != nil {
			t.Fatal(err)
		}
	}
	left := func() {
		t.Helper()
		until(t, "the page to let its stream go", func() bool { return n.subscribers() == 0 })
	}

	stop, end := context.WithCancel(t.Context())
	defer end()
	p := &numbers{done: make(chan error, 1)}
	go p.run(stop, n, key)
	// reads waits until the page reads what is published from now on.
	reads := func(after string) {
		t.Helper()
		before := notes()
		page.wait(t, max(before.Last, 0)+500)
		if p := notes(); len(p.Faults) > 0 {
			t.Fatalf("%s: %q", after, p.Faults)
		}
	}
	reads("at first")
	page.do(t, "Network.enable", nil)

	n.stop()
	told("bye shutdown", "state waiting")
	n.start()
	told("resumed")
	reads("a restart")
	n.kill()
	told("state waiting")
	n.start()
	told("resumed")
	reads("kill -9")

	n.do(201, nil, "POST", "/v1/apps/default/signing-keys/rotate", key, `{"overlap_sec":0}`)
	told("expired revoked")
	reads("a rotation")
	if _, err := page.evaluate(`window.late = true, ""`); err != nil {
		t.Fatal(err)
	}
	told("token soon", "expired token", "token expired")
	if _, err := page.evaluate(`window.late = false, ""`); err != nil {
		t.Fatal(err)
	}
	reads("a token that was over")

	n.do(200, nil, "PATCH", "/v1/apps/default/topics/extra/external", key, `{"external":false}`)
	told("expired topic extra", "extra 404 extra")
	reads("a topic made internal")
	if text, err := page.evaluate(`client.state.name`); err != nil || text != "open" {
		t.Errorf("after one of two topics is internal the client is %s: %v", text, err)
	}

	page.network(t, false, 400*time.Millisecond, 20_000) // a sixth of what is published
	// It counts for what is asked for from now on, such as a stream with another topic.
	if _, err := page.evaluate(`(window.other = client.topic("other")).ready.then(() => "")`); err != nil {
		t.Fatal(err)
	}
	told("state open")
	until(t, "the page to fall behind by 2 000 events", func() bool { return p.last()-notes().Last > 2000 })
	page.network(t, false, 0, -1)
	if _, err := page.evaluate(`other.close(), ""`); err != nil {
		t.Fatal(err)
	}
	reads("a slow network")
	page.network(t, true, 0, -1)
	told("state waiting")
	missed := p.last() + 1000
	until(t, "1 000 events to be published meanwhile", func() bool { return p.last() >= missed })
	page.network(t, false, 0, -1)
	told("resumed")
	reads("a time offline")

	page.do(t, "Page.setWebLifecycleState", map[string]any{"state": "frozen"})
	left()
	page.do(t, "Page.setWebLifecycleState", map[string]any{"state": "active"})
	reads("a freeze")

	if err := page.navigate(from + "/elsewhere"); err != nil {
		t.Fatal(err)
	}
	left()
	if _, err := page.evaluate(`setTimeout(() => history.back()), ""`); err != nil { // a page that is restored does not load, which a navigation would wait for
		t.Fatal(err)
	}
	const restored = `location.pathname === "/" ? "" + (window.seen?.Restored ?? JSON.stringify(performance.getEntriesByType("navigation")[0].notRestoredReasons)) : ""`
	var why string
	until(t, "the page to be back", func() bool {
		why, err = page.evaluate(restored)
		return err == nil && why != "" && why != "0"
	})
	if why != "1" {
		t.Fatalf("the page was not restored from the cache of pages, which proves nothing: %s", why)
	}
	reads("the way back")

	page.wait(t, notes().Last+peace)
	end()
	if err := <-p.done; err != nil {
		t.Fatal(err)
	}
	page.wait(t, p.last())
	r := notes()
	if len(r.Faults) > 0 || r.Count != r.Last-r.First+1 || r.Last != p.last() {
		t.Errorf("%d events from %d to %d of %d, faults: %.500q", r.Count, r.First, r.Last, p.last(), r.Faults)
	}
	page.close()
	left()
	t.Logf("%d events", p.last()+1)
}
