package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TP-2: $node/stats is made external with one command and then comes once a
// second to curl, who has no key and no id to resume from; nothing of it reaches
// the disk, the history or the journal.
func TestStatsOfTheNode(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	key := n.key("", "instance:admin")
	const events = "/v1/apps/default/topics/$node%2Fstats/events"
	n.do(404, nil, "GET", events, "", "", "Accept", "text/event-stream")
	n.cli("topics", "external", "$node/stats", "on")
	n.do(401, nil, "GET", events, "", "", "Accept", "text/event-stream")
	n.cli("topics", "update", "$node/stats", "--auth", "public")
	n.cli("topics", "external", "$node/sync", "on")
	n.do(403, nil, "POST", events, key, "1")
	n.do(201, nil, "POST", "/v1/apps/default/topics/t/events", key, "1")

	s := n.subscribe("", events)
	s.want(t, "hello")
	s.want(t, "")
	type counts struct {
		Storage struct {
			LastLSN uint64 `json:"last_lsn"`
			Events  uint64 `json:"events_since_start"`
		}
	}
	lsn := func() (c counts) {
		n.do(200, &c, "GET", "/v1/node", key, "")
		return c
	}
	before, written := lsn(), n.written()
	for settled := time.Now(); time.Since(settled) < 2*time.Second; {
		if now := n.written(); now != written {
			written, settled = now, time.Now()
		}
		s.want(t, "") // one a second
	}
	began := time.Now()
	const values = 5
	for i := range values {
		var e envelope
		if err := json.Unmarshal([]byte(s.want(t, "").Data), &e); err != nil {
			t.Fatal(err)
		}
		var st struct {
			Events      uint64   `json:"events_total"`
			Subscribers int      `json:"subscribers"`
			PerSec      *float64 `json:"events_per_sec"`
			RSS         uint64   `json:"rss_bytes"`
			Uptime      int64    `json:"uptime_sec"`
		}
		if err := json.Unmarshal(e.Data, &st); err != nil {
			t.Fatal(err)
		}
		if e.Source != "system" || st.Events != 1 || st.Subscribers != 1 || st.PerSec == nil || *st.PerSec != 0 || st.RSS < 1<<20 || st.Uptime < int64(i) {
			t.Errorf("%s", e.Data)
		}
	}
	if took := time.Since(began); took < (values-2)*time.Second {
		t.Errorf("%d values in %v", values, took)
	}
	if after, now := lsn(), n.written(); after != before || now != written {
		t.Errorf("%+v became %+v, and %d bytes were written", before, after, now-written)
	}
	n.do(200, nil, "GET", events, key, "")
	if got := n.history("", "default", "$node/stats"); len(got) != 0 {
		t.Errorf("the history has %v", got)
	}

	out, err := exec.CommandContext(t.Context(), "curl", "-sN", "--max-time", "4", "-H", "Accept: text/event-stream", n.url+events+"?since=latest").CombinedOutput()
	if c := strings.Count(string(out), "\ndata: {\"topic\":\"$node/stats\",\"data\":{\"uptime_sec\":"); c < 3 || !strings.Contains(string(out), "event: hello\n") || strings.Count(string(out), "\nid: ") != 1 {
		t.Errorf("%v: %d values: %s", err, c, out)
	}
	if got := n.cli("subscribe", "$node/stats", "--json", "-n", "2", "--latest", "$node/stats"); strings.Count(got, `"topic":"$node/stats"`) != 2 || strings.Contains(got, `"id"`) {
		t.Errorf("the command shows %s", got)
	}
}
