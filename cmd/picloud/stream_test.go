package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/logtest"
)

func TestAsJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"a":1}`: `{"a":1}`, `12`: `12`, `null`: `null`, `hello`: `"hello"`, "two words\n": `"two words"`,
		`{"a":`: `"{\"a\":"`, "": `""`, "\xff": `"\ufffd"`, "a\x1b": `"a\u001b"`,
	} {
		if got := string(asJSON([]byte(in))); got != want {
			t.Errorf("asJSON(%q) = %s, want %s", in, got, want)
		}
	}
}

func FuzzAsJSON(f *testing.F) {
	for _, s := range []string{"", "1", "{", `"a"`, "\xff\n", " 0  2 \r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if got := asJSON(in); !json.Valid(got) {
			t.Errorf("asJSON(%q) = %q", in, got)
		}
	})
}

// FuzzFrames feeds a stream to the parser: whatever comes, it ends.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{
		"id: a.1\ndata: {\"topic\":\"t\",\"data\":1}\n\n", "event: hello\ndata: {\"heartbeat_sec\":1e300}\n\n", "event: reset\ndata: x\n\n",
		": c\r\n\r\nretry: 99999999999\n\n", "data\n\n", "event: gap\ndata: \x1b\n\n", "id: a.1\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		l := &listener{c: &cli{out: &output{w: io.Discard}, err: io.Discard}}
		_ = l.read(strings.NewReader(in), func() {})
		if l.retry > longestRetry || l.patient < 0 {
			t.Errorf("would wait %v and hear nothing for %v", l.retry, l.patient)
		}
	})
}

// RT-6: a command that follows a topic misses nothing while the node is away,
// even when it had seen no event before. OP-1: lines wait for the node, and none
// is lost or doubled.
func TestLinesAndSubscribeOverARestart(t *testing.T) {
	t.Parallel()
	cfg := newConfig(t)
	stop := runNode(t, cfg)
	const lines = 60

	var heard, told logtest.Buffer
	listening := make(chan int, 1)
	go func() {
		listening <- run([]string{"--data", cfg.Data, "subscribe", "load", "--json", "-n", fmt.Sprint(lines)}, nil, &heard, &told)
	}()
	until(t, "the subscriber", func() bool { return strings.Contains(told.String(), "listening") })

	in, feed := io.Pipe()
	var waited logtest.Buffer
	publishing := make(chan int, 1)
	go func() {
		publishing <- run([]string{"--data", cfg.Data, "publish", "--lines", "load"}, in, io.Discard, &waited)
	}()
	stop() // nobody has seen an event by now
	for i := range lines {
		switch i {
		case 1: // the first line is waiting for a node by now
			until(t, "the publisher to notice", func() bool { return strings.Contains(waited.String(), "waiting for the node") })
			stop = runNode(t, cfg)
		case lines / 2:
			stop()
			stop = runNode(t, cfg)
		}
		if _, err := fmt.Fprintf(feed, "{\"n\":%d}\n", i); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { stop() })
	_ = feed.Close()
	if code := <-publishing; code != 0 {
		t.Fatalf("publishing ended with %d: %s", code, waited.String())
	}
	if code := <-listening; code != 0 {
		t.Fatalf("listening ended with %d: %s", code, told.String())
	}
	got := strings.Split(strings.TrimSpace(heard.String()), "\n")
	for i, line := range got {
		var e api.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.ID == "" || string(e.Data) != fmt.Sprintf(`{"n":%d}`, i) {
			t.Fatalf("event %d is %s (%v)", i, line, err)
		}
	}
	if len(got) != lines || strings.Contains(told.String(), "reset") || strings.Contains(told.String(), "gap") {
		t.Errorf("%d events of %d: %s", len(got), lines, told.String())
	}
}

// A line that never comes does not hold up who wants to stop.
func TestLinesCanBeInterrupted(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }() // ends the reader's goroutine
	ctx, cancel := context.WithCancel(t.Context())
	l := newLineReader(r)
	cancel()
	if _, err := l.next(ctx); err == nil {
		t.Error("a line came from nowhere")
	}
}

// A line that cannot be an event is named, and ends the stream of lines.
func TestLineThatIsRefused(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	_, errOut, code := do(t, cfg, "1\n"+strings.Repeat("x", 300<<10)+"\n3\n", "publish", "--lines", "load")
	if code != exitRefused || !strings.Contains(errOut, "line 2") {
		t.Errorf("ended with %d: %s", code, errOut)
	}
	if out := ok(t, cfg, "events", "load", "--json"); strings.Count(out, "\n") != 1 {
		t.Errorf("published: %s", out)
	}
}
