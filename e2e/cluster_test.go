package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

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
	onA := a.subscribe(token, "/v1/apps/default/topics/door/events")
	onA.want(t, "open")
	onB := b.subscribe(token, "/v1/apps/default/topics/door/events") // its key is asked for
	onB.want(t, "open")

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
	away.want(t, "open")
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
