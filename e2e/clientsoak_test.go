package e2e

import (
	"context"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// heap returns how many bytes a page holds: objects of scripts, of the browser, and buffers. It is the least after several collections of garbage, since
// one leaves what is under way at that moment.
func (tab *clientTab) heap(t *testing.T) float64 {
	t.Helper()
	least := math.Inf(1)
	for range 5 {
		tab.do(t, "HeapProfiler.collectGarbage", nil)
		var used struct {
			Objects float64 `json:"usedSize"`
			Browser float64 `json:"embedderHeapUsedSize"`
			Buffers float64 `json:"backingStorageSize"`
		}
		if err := tab.command("Runtime.getHeapUsage", nil, &used); err != nil {
			t.Fatal(err)
		}
		least = min(least, used.Objects+used.Browser+used.Buffers)
	}
	return least
}

// soakReaders makes a page read its topic in the other two ways, too: by a loop, and the newest event of a frame.
const soakReaders = `(async () => {
	client.topic("n", {mode: "latest"}).on("event", () => {});
	for await (const event of client.topic("n")) window.looped = event.data;
})(), ""`

// CL-4, CL-7: two tabs that share a stream read 100 events a second for long by a listener, by a loop and once in a frame: nothing is missing, and at
// the end they hold as much memory as at the beginning, within 5 %. Nothing is compiled meanwhile: in a heap of one megabyte the code would count.
func TestClientSoak(t *testing.T) {
	text := os.Getenv("PICLOUD_E2E_CLIENT_SOAK")
	if text == "" {
		t.Skip("takes long and measures memory: make client-soak")
	}
	limit, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, "PICLOUD_HTTP_ALLOWED_HOSTS=pi.lan")
	n.plain = true
	n.start()
	n.cli("topics", "create", "n", "--external", "--auth", "public")
	key := n.key("default", "app:publish")
	ctx, origin := lanBrowser(t, n, limit+5*time.Minute, chromedp.Flag("js-flags", "--jitless"))
	tabs := []*clientTab{openTab(ctx, t, 0, origin), openTab(ctx, t, 1, origin)}
	for _, tab := range tabs {
		if _, err := tab.evaluate(soakReaders); err != nil {
			t.Fatal(err)
		}
	}
	stop, end := context.WithTimeout(t.Context(), limit)
	defer end()
	p := &numbers{batch: 2, done: make(chan error, 1)}
	go p.run(stop, n, key)
	heaps := make([][]float64, len(tabs))
	for ; stop.Err() == nil; pause(stop, limit/60) {
		for i, tab := range tabs {
			heaps[i] = append(heaps[i], tab.heap(t)/(1<<20))
		}
	}
	if err := <-p.done; err != nil {
		t.Fatal(err)
	}
	if s := n.subscribers(); s != 1 {
		t.Errorf("two tabs have %d streams", s)
	}
	for i, tab := range tabs {
		tab.wait(t, p.last())
		r, err := tab.read()
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Faults) > 0 || r.Count != r.Last-r.First+1 {
			t.Errorf("tab %d: %d events from %d to %d, faults: %.500q", i, r.Count, r.First, r.Last, r.Faults)
		}
		tenth := max(len(heaps[i])/10, 1) // the first one is not counted: the page has just begun
		median := func(part []float64) float64 { return slices.Sorted(slices.Values(part))[len(part)/2] }
		early, late := median(heaps[i][tenth:2*tenth]), median(heaps[i][len(heaps[i])-tenth:])
		t.Logf("tab %d: %d events, %.3f MiB in the second tenth of the time and %.3f in the last (%+.1f %%)", i, r.Count, early, late, 100*(late/early-1))
		if late > 1.05*early {
			t.Errorf("memory grows: %.3f", heaps[i])
		}
	}
}
