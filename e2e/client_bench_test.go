package e2e

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// openReaders makes two functions of a page. Each reads COUNT events that come after the id CURSOR, of the topics TOPICS, the last of which is LAST, and
// returns the milliseconds that it took from the first one on: by the client up to its listeners, and by a bare fetch as the client uses it.
const openReaders = `import("/assets/client.js").then(({createClient}) => {
	const topics = TOPICS, cursor = CURSOR, last = "id: " + LAST;
	window.byClient = () => new Promise((resolve, reject) => {
		let count = 0, began;
		const client = createClient({app: "default", cursor});
		client.on("gap", () => reject(new Error("a gap")));
		const listener = () => {
			if (count++ === 0) began = performance.now();
			if (count < COUNT) return;
			resolve("" + (performance.now() - began));
			client.close();
		};
		for (const topic of topics) client.topic(topic).on("event", listener);
	});
	window.byFetch = async () => {
		const abort = new AbortController();
		const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
		const headers = {Accept: "text/event-stream", "Last-Event-ID": cursor};
		const res = await fetch("/v1/apps/default/events?" + query, {headers, signal: abort.signal, cache: "no-store"});
		const reader = res.body.getReader(), decoder = new TextDecoder();
		let began, end = "";
		while (!end.includes(last)) {
			const {value} = await reader.read();
			began ??= performance.now();
			end = end.slice(-1000) + decoder.decode(value.slice(-1000));
		}
		abort.abort();
		return "" + (performance.now() - began);
	};
	return "";
})`

// mainThread returns the processor time that the main thread of a page has taken, in seconds.
func (tab *clientTab) mainThread(tb testing.TB) float64 {
	tb.Helper()
	var all struct {
		Metrics []struct {
			Name  string  `json:"name"`
			Value float64 `json:"value"`
		} `json:"metrics"`
	}
	if err := tab.command("Performance.getMetrics", nil, &all); err != nil {
		tb.Fatal(err)
	}
	for _, m := range all.Metrics {
		if m.Name == "ThreadTime" {
			return m.Value
		}
	}
	tb.Fatalf("there is no ThreadTime: %+v", all)
	return 0
}

// BenchmarkClientInAPage measures how many events a second come from the socket to listeners in Chromium, of streams of so many topics that the node
// reads from its journal, and what an event costs the main thread; the same of a fetch that does nothing with them.
func BenchmarkClientInAPage(b *testing.B) {
	const count, batch = 100_000, 1000
	for _, topics := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("topics=%d", topics), func(b *testing.B) {
			n := startNode(b, "PICLOUD_HTTP_ALLOWED_HOSTS=pi.lan", fmt.Sprint("PICLOUD_RETENTION_MAX_EVENTS=", 2*count))
			key := n.key("default", "app:publish")
			names := make([]string, topics)
			for i := range names {
				names[i] = fmt.Sprint("t", i)
				n.cli("topics", "create", names[i], "--external", "--auth", "public")
			}
			var before struct{ ID string }
			n.do(201, &before, "POST", "/v1/apps/default/topics/before/events", key, "0")
			var published []struct{ ID string }
			for i := 0; i < count; i += batch {
				drafts := make([]string, batch)
				for j := range drafts {
					drafts[j] = fmt.Sprintf(`{"topic":"t%d","data":{"n":%d,"celsius":21.5}}`, j%topics, i+j)
				}
				n.do(201, &published, "POST", "/v1/apps/default/events", key, "["+strings.Join(drafts, ",")+"]")
			}
			quoted, err := json.Marshal(names)
			if err != nil {
				b.Fatal(err)
			}
			script := strings.NewReplacer("TOPICS", string(quoted), "COUNT", fmt.Sprint(count), "CURSOR", fmt.Sprintf("%q", before.ID),
				"LAST", fmt.Sprintf("%q", published[batch-1].ID)).Replace(openReaders)
			ctx, origin := lanBrowser(b, n, 10*time.Minute)
			page := newTab(ctx, b, origin+"/healthz")
			if _, err := page.evaluate(script); err != nil {
				b.Fatal(err)
			}
			if err := page.command("Performance.enable", nil, nil); err != nil {
				b.Fatal(err)
			}
			for _, by := range []struct{ name, rate, cost string }{{"byClient", "events/s", "µs-CPU"}, {"byFetch", "fetched/s", "µs-CPU-fetch"}} {
				var took, cpu float64
				for range b.N {
					before := page.mainThread(b)
					text, err := page.evaluate(by.name + "()")
					if err != nil {
						b.Fatal(err)
					}
					ms, err := strconv.ParseFloat(text, 64)
					if err != nil {
						b.Fatal(err)
					}
					took += ms / 1000
					cpu += page.mainThread(b) - before
				}
				events := float64(count * b.N)
				b.ReportMetric(events/took, by.rate)
				b.ReportMetric(cpu*1e6/events, by.cost)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
