package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/picloud/picloud/logtest"
)

// browser starts a real Chromium with one page, and with further options.
func browser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	return browserFor(t, 3*time.Minute, more...)
}

// browserFor starts a browser that may be used for so long.
func browserFor(tb testing.TB, limit time.Duration, more ...chromedp.ExecAllocatorOption) context.Context {
	tb.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		tb.Fatal("chromium is not installed; 'make install-tools' does it")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1100, 1000),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := chromedp.NewExecAllocator(tb.Context(), append(opts, more...)...)
	tb.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	tb.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, limit)
	tb.Cleanup(cancel)
	return ctx
}

// trusting returns a home directory for a browser that trusts an authority; "": no further one.
func trusting(t *testing.T, authority string) (home string) {
	t.Helper()
	home = t.TempDir()
	store := filepath.Join(home, ".pki", "nssdb")
	if err := os.MkdirAll(store, 0o700); err != nil {
		t.Fatal(err)
	}
	commands := [][]string{{"-N", "--empty-password"}}
	if authority != "" {
		commands = append(commands, []string{"-A", "-t", "C,,", "-n", "PiCloud", "-i", authority})
	}
	for _, args := range commands {
		if out, err := exec.CommandContext(t.Context(), "certutil", append([]string{"-d", "sql:" + store}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("certutil: %v: %s", err, out)
		}
	}
	return home
}

func evaluate(ctx context.Context, t *testing.T, script string, v any) {
	t.Helper()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("JSON.stringify("+script+")"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// counters is what the page counts.
type counters struct {
	Received, Gaps, Duplicates, Reconnects int
	Resets, IDs                            int
	State                                  string
}

const readCounters = `({...picloud.count, resets: picloud.resets, ids: picloud.ids.size, state: document.getElementById("state").textContent})`

// RT-1, RT-6: the live page in a real browser, through kill -9 of the node and
// its restart, with real input of this machine: no event is missing, none came
// twice, and the history says the same.
func TestPageSurvivesRestart(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	demo := exec.CommandContext(t.Context(), binary, "demo", "--every", "200ms")
	demo.Env = n.environ()
	log := new(logtest.Buffer)
	demo.Stdout, demo.Stderr = log, log
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = demo.Process.Kill(); _ = demo.Wait() })
	ctx := browser(t)
	if _, err := chromedp.Run(ctx, chromedp.Navigate(n.url+"/")); err != nil {
		t.Fatal(err)
	}
	wait := func(what string, ok func(c counters) bool) counters {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for {
			var c counters
			evaluate(ctx, t, readCounters, &c)
			if ok(c) {
				return c
			}
			if time.Now().After(deadline) {
				t.Fatalf("waited for %s: %+v\n%s", what, c, log)
			}
			pause(ctx, 100*time.Millisecond)
		}
	}
	wait("the first events", func(c counters) bool { return c.Received > 20 })
	for round := 1; round <= 3; round++ {
		n.kill()
		pause(ctx, 300*time.Millisecond) // the demo notices, and waits
		n.start()
		before := wait("the page to come back", func(c counters) bool { return c.Reconnects >= round && c.State == "live" })
		wait("new events", func(c counters) bool { return c.Received > before.Received+10 })
	}
	c := wait("events", func(counters) bool { return true })
	if c.Gaps != 0 || c.Duplicates != 0 || c.Resets != 0 || c.IDs != c.Received {
		t.Errorf("the page counts %+v", c)
	}
	shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("out", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("out", "page.png"), shot, 0o644); err != nil {
		t.Fatal(err)
	}
	// What the history has from the page's first event on is what the page has.
	var ids []string
	evaluate(ctx, t, `[...picloud.ids].map(key => key.split(" ").at(-1))`, &ids)
	seen := map[string]bool{}
	for _, id := range ids {
		seen[id] = true
	}
	numbers := map[string]int{}
	for _, e := range n.history("", "demo", "machine/load", "machine/memory", "machine/temperature") {
		var d struct{ N int }
		if err := json.Unmarshal(e.Data, &d); err != nil {
			t.Fatal(err)
		}
		if numbers[e.Topic]++; d.N != numbers[e.Topic] {
			t.Fatalf("%s: number %d in the place of %d", e.Topic, d.N, numbers[e.Topic])
		}
		if at := seqOf(t, e.ID); at >= seqOf(t, ids[0]) && at <= seqOf(t, ids[len(ids)-1]) && !seen[e.ID] && at > seqOf(t, ids[2]) {
			t.Errorf("the page has not seen %s", e.ID)
		}
	}
	t.Logf("%s events over 3 restarts, %d of load", strconv.Itoa(c.Received), numbers["machine/load"])
}

// OP-4: the page of a node on which nothing is public says what to do, shows what is made public without being
// loaded again, and what is not public never; on a phone nothing sticks out.
func TestPageOfANewNode(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	ctx := browser(t)
	if _, err := chromedp.Run(ctx, chromedp.EmulateViewport(360, 640)); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(ctx, chromedp.Navigate(n.url+"/")); err != nil {
		t.Fatal(err)
	}
	type sight struct {
		Text  string
		Width int
	}
	wait := func(what string, ok func(s sight) bool) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for {
			var s sight
			evaluate(ctx, t, `({text: document.body.innerText, width: document.documentElement.scrollWidth})`, &s)
			if s.Width > 360 {
				t.Fatalf("on a phone it is %d wide", s.Width)
			}
			if ok(s) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("waited for %s: %s", what, s.Text)
			}
			pause(ctx, 100*time.Millisecond)
		}
	}
	shows := func(texts ...string) func(s sight) bool {
		return func(s sight) bool {
			for _, text := range texts {
				if !strings.Contains(s.Text, text) {
					return false
				}
			}
			return true
		}
	}
	wait("what to do", shows("Nothing is public yet", "picloud topics create door --external --auth public", "The health of the board is not public", "nothing public"))
	n.cli("topics", "create", "door", "--external", "--auth", "public")
	n.cli("topics", "create", "safe", "--external")
	n.cli("publish", "door", `{"open":true}`)
	n.cli("publish", "safe", `{"open":"hidden-word"}`)
	n.cli("topics", "external", "$board/health", "on")
	n.cli("topics", "update", "$board/health", "--auth", "public")
	wait("the topic and the board", func(s sight) bool {
		return shows("door", "open", "yes", "live", "temperature", "disk free")(s) && !strings.Contains(s.Text, "Nothing is public")
	})
	n.cli("publish", "door", `{"open":false}`)
	wait("the next event", shows(`{"open":false}`, "events received"))
	const image = `<img src=x onerror="document.title='owned'">`
	n.cli("topics", "update", "door", "--description", `">`+image)
	n.cli("publish", "door", `{"<img src=x onerror=document.title='owned'>":"<b>bold</b><script>document.title='owned'</script>","constructor":5}`)
	wait("what looks like HTML, as text", shows("<b>bold</b>", "<img src=x onerror=document.title='owned'>"))
	var made struct {
		Elements int
		Title    string
		Fields   string
	}
	evaluate(ctx, t, `({elements: document.querySelectorAll("img,b,main script").length, title: document.title, fields: document.querySelector("article.topic").innerText})`, &made)
	if made.Elements != 0 || strings.Contains(made.Title, "owned") || strings.Contains(made.Fields, "native code") {
		t.Errorf("data has become part of the page: %+v", made)
	}
	var text string
	evaluate(ctx, t, `document.documentElement.outerHTML`, &text)
	if strings.Contains(text, "hidden-word") || strings.Contains(text, "safe") {
		t.Error("the page has what is not public")
	}
}
