package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/picloud/picloud/pgsync/pgtest"
)

// Two nodes, one database: subscribers on either hear both, each event marked
// with the node it comes from; a token of one opens a stream on the other, also
// when Postgres is away, until a rotation ends it. (RT-10, TK-3)
func TestCluster(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "fsync=off")
	url := server.Database(t)
	env := []string{"PICLOUD_DATABASE_URL=" + url, "PICLOUD_CLUSTER=postgres"}
	a, b := startNode(t, env...), startNode(t, env...)
	for _, n := range []*node{a, b} {
		n.cli("topics", "create", "door", "--external")
		n.cli("sync", "wait", "--timeout", "20s")
	}
	token := strings.TrimSpace(a.cli("tokens", "mint", "door"))
	a.cli("sync", "wait", "--timeout", "20s") // a token is good elsewhere when its key has been copied
	onA := a.subscribe(token, "/v1/apps/default/topics/door/events")
	onA.want(t, "hello")
	onB := b.subscribe(token, "/v1/apps/default/topics/door/events") // its key is asked for
	onB.want(t, "hello")

	type envelope struct {
		Data string `json:"data"`
		Node string `json:"node"`
		ID   string `json:"id"`
	}
	hear := func(s *stream) (f frame, e envelope) {
		t.Helper()
		f = s.want(t, "")
		if err := json.Unmarshal([]byte(f.Data), &e); err != nil {
			t.Fatalf("%+v: %v", f, err)
		}
		return f, e
	}
	// The listeners begin when they have looked once: until then an event may
	// not be brought.
	pause(t.Context(), 500*time.Millisecond)
	idA := strings.TrimSpace(a.cli("publish", "door", `"from a"`))
	if f, e := hear(onA); f.ID != idA || e.Data != "from a" || e.Node != "" {
		t.Errorf("on a: %+v", f)
	}
	if f, e := hear(onB); f.ID != "" || e.Data != "from a" || e.ID != idA || e.Node == "" {
		t.Errorf("on b: %+v", f)
	}
	b.cli("publish", "door", `"from b"`)
	if f, e := hear(onB); f.ID == "" || e.Data != "from b" || e.Node != "" {
		t.Errorf("on b: %+v", f)
	}
	if f, e := hear(onA); f.ID != "" || e.Data != "from b" || e.Node == "" {
		t.Errorf("on a: %+v", f)
	}

	b.cli("sync", "wait")
	server.Kill()
	b.stop()
	b.start()
	away := b.subscribe(token, "/v1/apps/default/topics/door/events")
	away.want(t, "hello")
	a.cli("publish", "door", `"while Postgres is away"`)
	server.Start(t)
	a.cli("sync", "retry")
	a.cli("sync", "wait", "--timeout", "30s")
	if _, e := hear(away); e.Data != "while Postgres is away" {
		t.Errorf("afterwards: %+v", e)
	}
	a.cli("tokens", "rotate", "--overlap", "0s")
	if f := away.want(t, "expired"); !strings.Contains(f.Data, "revoked") {
		t.Errorf("after the rotation: %+v", f)
	}
	b.do(401, nil, "GET", "/v1/apps/default/topics/door/events", token, "", "Accept", "text/event-stream")
}

// Two nodes and a real browser on each, with the browser's own EventSource: both
// see both, and after a restart of a node its browser resumes among its own
// events without missing or repeating one. (RT-1, RT-6, RT-10)
func TestClusterInBrowsers(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "fsync=off")
	env := []string{"PICLOUD_DATABASE_URL=" + server.Database(t), "PICLOUD_CLUSTER=postgres"}
	nodes := []*node{startNode(t, env...), startNode(t, env...)}
	pages := make([]context.Context, len(nodes))
	for i, n := range nodes {
		n.cli("topics", "create", "door", "--external", "--auth", "public")
		n.cli("sync", "wait", "--timeout", "20s")
		pages[i] = browser(t)
		if _, err := chromedp.Run(pages[i], chromedp.Navigate(n.url+"/healthz")); err != nil {
			t.Fatal(err)
		}
		var ok int
		evaluate(pages[i], t, `(() => {
			window.got = []; window.opened = 0;
			const es = new EventSource("/v1/apps/default/topics/door/events");
			es.addEventListener("hello", () => window.opened++);
			es.onmessage = e => { const d = JSON.parse(e.data); window.got.push({data: d.data, node: d.node || "", last: e.lastEventId}) };
			return 1 })()`, &ok)
	}
	type message struct{ Data, Node, Last string }
	wait := func(page int, what string, ok func(got []message, opened int) bool) []message {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		for {
			var state struct {
				Got    []message
				Opened int
			}
			evaluate(pages[page], t, `({Got: window.got, Opened: window.opened})`, &state)
			if ok(state.Got, state.Opened) {
				return state.Got
			}
			if time.Now().After(deadline) {
				t.Fatalf("page %d: waited for %s: %+v", page, what, state)
			}
			pause(t.Context(), 50*time.Millisecond)
		}
	}
	for i := range pages {
		wait(i, "the stream", func(_ []message, opened int) bool { return opened == 1 })
	}
	pause(t.Context(), 500*time.Millisecond) // the listeners have looked once
	for round := range 5 {
		for i, n := range nodes {
			n.cli("publish", "door", fmt.Sprintf(`"%d from %d"`, round, i))
		}
	}
	for i := range pages {
		wait(i, "all events of both", func(got []message, _ int) bool { return len(got) == 10 })
	}
	nodes[0].kill()
	nodes[1].cli("publish", "door", `"while 0 is away"`)
	nodes[0].start()
	wait(0, "the browser to come back", func(_ []message, opened int) bool { return opened == 2 })
	nodes[0].cli("publish", "door", `"end of 0"`)
	nodes[1].cli("publish", "door", `"end of 1"`)
	for i := range nodes {
		got := wait(i, "both ends", func(got []message, _ int) bool {
			ends := 0
			for _, m := range got {
				if strings.HasPrefix(m.Data, "end of") {
					ends++
				}
			}
			return ends == 2
		})
		seen := map[string]int{}
		for _, m := range got {
			seen[m.Data]++
			own := strings.HasSuffix(m.Data, fmt.Sprint(i)) || (i == 1 && strings.HasPrefix(m.Data, "while"))
			if own == (m.Node != "") {
				t.Errorf("page %d: %+v", i, m)
			}
		}
		for round := range 5 {
			for from := range nodes {
				if text := fmt.Sprintf("%d from %d", round, from); seen[text] != 1 {
					t.Errorf("page %d has %q %d times: %+v", i, text, seen[text], got)
				}
			}
		}
	}
}
