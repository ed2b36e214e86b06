package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// clientTab is a page that reads a topic with the client that the node serves.
type clientTab struct {
	number   int
	close    context.CancelFunc
	evaluate func(script string) (string, error) // of a page that does not answer in time: an error
	navigate func(url string) error
	command  func(method string, params map[string]any, result any) error // of the DevTools protocol
	crash    func()
}

// reading is what a page says of its client.
type reading struct {
	State struct {
		Name   string
		Leader bool
	}
	Count, First, Last int
	Faults             []string // events that are missing, came twice or out of order
	Silence            float64  // the longest between two events, in milliseconds
}

const openClient = `import("/assets/client.js").then(({createClient}) => {
	const seen = window.seen = {Count: 0, First: -1, Last: -1, Faults: [], Silence: 0};
	let at = 0;
	const client = window.client = createClient({app: "default"});
	client.on("reset", (r) => seen.Faults.push("reset " + r.reason));
	client.on("gap", (g) => seen.Faults.push("gap of " + g.missed));
	client.topic("n").on("event", ({data}) => {
		if (seen.Count++ === 0) seen.First = data;
		else if (data !== seen.Last + 1) seen.Faults.push(data + " after " + seen.Last);
		seen.Last = data;
		const now = performance.now();
		if (at) seen.Silence = Math.max(seen.Silence, now - at);
		at = now;
	});
	return JSON.stringify([isSecureContext, navigator.locks === undefined]);
})`

// openTab opens a tab of the browser on an origin that is not secure, as a page of a LAN is.
func openTab(ctx context.Context, t *testing.T, number int, origin string) *clientTab {
	t.Helper()
	tab := newTab(ctx, t, origin+"/healthz")
	tab.number = number
	tab.begin(t)
	return tab
}

// begin makes the page read the topic n.
func (tab *clientTab) begin(t *testing.T) {
	t.Helper()
	text, err := tab.evaluate(openClient)
	if err != nil {
		t.Fatal(err)
	}
	if text != "[false,true]" {
		t.Fatalf("the page is a secure context, or has Web Locks, which proves nothing: %s", text)
	}
}

// newTab opens a tab of the browser.
func newTab(ctx context.Context, tb testing.TB, url string) *clientTab {
	tb.Helper()
	own, end := chromedp.NewContext(ctx)
	tab := &clientTab{
		close: end,
		evaluate: func(script string) (string, error) {
			limited, cancel := context.WithTimeout(own, 30*time.Second)
			defer cancel()
			return chromedp.Run(limited, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
		},
		navigate: func(url string) error {
			_, err := chromedp.Run(own, chromedp.Navigate(url))
			return err
		},
		command: func(method string, params map[string]any, result any) error {
			limited, cancel := context.WithTimeout(own, 30*time.Second)
			defer cancel()
			_, err := chromedp.Run(limited, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
				return target.Call(ctx, method, params, result)
			}))
			return err
		},
		crash: func() {
			limited, cancel := context.WithTimeout(own, 3*time.Second)
			defer cancel()
			_, _ = chromedp.Run(limited, chromedp.Navigate("chrome://crash")) // does not come back
		},
	}
	if err := tab.navigate(url); err != nil {
		tb.Fatal(err)
	}
	return tab
}

// lanBrowser starts a browser for which the node n has an origin that is not secure, as a page of a LAN is.
func lanBrowser(tb testing.TB, n *node, limit time.Duration, more ...chromedp.ExecAllocatorOption) (ctx context.Context, origin string) {
	tb.Helper()
	_, port, err := net.SplitHostPort(n.listen)
	if err != nil {
		tb.Fatal(err)
	}
	ctx = browserFor(tb, limit, append(more, chromedp.Flag("host-resolver-rules", "MAP pi.lan 127.0.0.1"))...)
	if _, err := chromedp.Run(ctx, chromedp.Navigate("about:blank")); err != nil { // starts the browser, in which all tabs are
		tb.Fatal(err)
	}
	return ctx, "http://pi.lan:" + port
}

// subscribers returns how many streams the node has.
func (n *node) subscribers() int {
	n.t.Helper()
	var s struct{ Subscribers int }
	if err := json.Unmarshal([]byte(n.cli("status", "--json")), &s); err != nil {
		n.t.Fatal(err)
	}
	return s.Subscribers
}

// read returns what a tab has read.
func (tab *clientTab) read() (reading, error) {
	var r reading
	text, err := tab.evaluate(`JSON.stringify({...seen, State: client.state})`)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal([]byte(text), &r)
}

// numbers publishes 0, 1, 2 … to the topic n, fifty times a second, until its context ends.
type numbers struct {
	batch int          // how many at a time; 0: twenty
	n     atomic.Int64 // how many have been published
	done  chan error
}

// last returns the number that was published last; -1: none.
func (p *numbers) last() int { return int(p.n.Load()) - 1 }

func (p *numbers) run(ctx context.Context, n *node, key string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			p.done <- nil
			return
		case <-tick.C:
		}
		drafts := make([]string, cmp.Or(p.batch, 20))
		first := p.last() + 1
		for i := range drafts {
			drafts[i] = fmt.Sprintf(`{"topic":"n","data":%d}`, first+i)
		}
		body := "[" + strings.Join(drafts, ",") + "]"
		// The same batch again while the node is away: the key keeps it from being taken twice.
		a, err := n.request("POST", "/v1/apps/default/events", key, body, "Idempotency-Key", fmt.Sprint("batch-", first))
		switch {
		case err != nil || a.status >= 500:
		case a.status != 201:
			p.done <- fmt.Errorf("publish: %d %s", a.status, a.body)
			return
		default:
			p.n.Add(int64(len(drafts)))
		}
	}
}

// CL-4, CL-7: eight tabs of a browser on plain HTTP share one stream at 1 000 events a
// second, through the end of the leading tab, its crash, a leader that does not answer
// for seconds, and kill -9 of the node: nothing is missing, nothing comes twice, in order.
func TestTabsShareAStream(t *testing.T) {
	t.Parallel()
	n := startNode(t, "PICLOUD_HTTP_ALLOWED_HOSTS=pi.lan", "PICLOUD_REALTIME_BROADCAST_CAPACITY=10000")
	n.cli("topics", "create", "n", "--external", "--auth", "public")
	key := n.key("default", "app:publish")
	ctx, origin := lanBrowser(t, n, 3*time.Minute)
	var tabs []*clientTab
	for i := range 8 {
		tabs = append(tabs, openTab(ctx, t, i, origin))
	}
	// settled waits until all tabs read, one of them leads, and the node has one stream; it returns the leader's place.
	settled := func(what string) int {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for {
			var states []string
			leader, leaders, open := -1, 0, 0
			for i, tab := range tabs {
				r, err := tab.read()
				if err != nil {
					t.Fatalf("%s: tab %d: %v", what, tab.number, err)
				}
				if r.State.Name == "open" {
					open++
				}
				if r.State.Leader {
					leader = i
					leaders++
				}
				states = append(states, fmt.Sprintf("%d %s", tab.number, r.State.Name))
			}
			if s := n.subscribers(); open == len(tabs) && leaders == 1 && s == 1 {
				return leader
			} else if time.Now().After(deadline) {
				t.Fatalf("%s: %d streams, %d leaders: %v", what, s, leaders, states)
			}
			pause(ctx, 50*time.Millisecond) // pages tell the outside nothing
		}
	}
	// handOver tells how long the tabs were without an event, of which there are fifty groups a second.
	handOver := func(what string) {
		t.Helper()
		for _, tab := range tabs {
			text, err := tab.evaluate(`(() => { const { Silence } = seen; seen.Silence = 0; return Silence.toFixed(); })()`)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: tab %d had no event for %s ms", what, tab.number, text)
		}
	}
	settled("at first")
	stop, end := context.WithCancel(t.Context())
	p := &numbers{done: make(chan error, 1)}
	go p.run(stop, n, key)
	tabs[0].wait(t, 200)

	leader := settled("under load")
	handOver("under load")
	tabs[leader].close()
	tabs = slices.Delete(tabs, leader, leader+1)
	leader = settled("after the end of the leader")
	handOver("after the end of the leader")

	tabs[leader].crash()
	tabs = slices.Delete(tabs, leader, leader+1)
	leader = settled("after the crash of the leader")
	handOver("after the crash of the leader")

	if _, err := tabs[leader].evaluate(`(() => { const end = Date.now() + 5000; while (Date.now() < end); return ""; })()`); err != nil {
		t.Fatal(err)
	}
	settled("after a leader that was busy for 5 s")

	n.kill()
	n.start()
	settled("after kill -9")
	tabs = append(tabs, openTab(ctx, t, 8, origin))
	settled("with one more tab")

	end()
	if err := <-p.done; err != nil {
		t.Fatal(err)
	}
	for _, tab := range tabs {
		tab.wait(t, p.last())
		r, err := tab.read()
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Faults) > 0 || r.Count != r.Last-r.First+1 {
			t.Errorf("tab %d: %d events from %d to %d, faults: %.500q", tab.number, r.Count, r.First, r.Last, r.Faults)
		}
	}
	t.Logf("%d events", p.last()+1)
}

// wait waits until a tab has read a number, as long as it reads on.
func (tab *clientTab) wait(t *testing.T, number int) {
	t.Helper()
	deadline, last := time.Now().Add(time.Minute), -1
	for {
		r, err := tab.read()
		if err != nil {
			t.Fatal(err)
		}
		if r.Last >= number {
			return
		}
		if r.Last != last {
			deadline, last = time.Now().Add(time.Minute), r.Last
		}
		if time.Now().After(deadline) {
			t.Fatalf("tab %d waited for %d: %+v", tab.number, number, r)
		}
		pause(t.Context(), 50*time.Millisecond) // as above
	}
}
