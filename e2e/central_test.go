package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/pgsync/pgtest"
)

// compact is data as the node keeps it; the tables have it as jsonb.
func compact(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sameAsTables compares the whole history of some topics with the tables, in
// order.
func sameAsTables(t *testing.T, n *node, key, url string, topics ...string) {
	t.Helper()
	var want []string
	for _, e := range n.history(key, "default", topics...) {
		want = append(want, fmt.Sprintf("%s %s %s %s %s", e.ID, e.Topic, compact(t, string(e.Data)), e.Source, e.PublishedAt))
	}
	rows := pgtest.Query(t, url, `SELECT json_build_array(epoch || '.' || seq, topic, data, source, to_char(published_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))::text
		FROM picloud.events WHERE topic = ANY($1) ORDER BY lsn`, topics)
	got := make([]string, len(rows))
	for i, r := range rows {
		var f []json.RawMessage
		if err := json.Unmarshal([]byte(r), &f); err != nil {
			t.Fatal(err)
		}
		text := func(b json.RawMessage) (s string) { _ = json.Unmarshal(b, &s); return s }
		got[i] = fmt.Sprintf("%s %s %s %s %s", text(f[0]), text(f[1]), compact(t, string(f[2])), text(f[3]), text(f[4]))
	}
	if !slices.Equal(got, want) {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		t.Fatalf("%d rows in the tables, %d events in the journal; they part at %d:\n%v\nwant\n%v",
			len(got), len(want), i, got[i:min(i+3, len(got))], want[i:min(i+3, len(want))])
	}
}

// PG-1, PG-2: the node and Postgres die at random, again and again, under load.
// In the end the tables are exactly the journal: each event once, in order.
func TestCentralCrash(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	url := server.Database(t)
	n := startNode(t, "PICLOUD_DATABASE_URL="+url, "PICLOUD_RETENTION_MAX_EVENTS=10000000")
	l := newLoad(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wait := l.start(ctx)
	rounds := howOften(t, "PICLOUD_E2E_ROUNDS", 15)
	for range rounds {
		pause(t.Context(), time.Duration(20+rand.IntN(400))*time.Millisecond)
		if rand.IntN(2) == 0 {
			n.kill()
			n.start()
		} else {
			server.Kill()
			pause(t.Context(), time.Duration(rand.IntN(200))*time.Millisecond)
			server.Start(t)
		}
	}
	cancel()
	wait()
	l.check()
	n.cli("sync", "retry")
	n.cli("sync", "wait", "--timeout", "50s")
	sameAsTables(t, n, l.key, url, append(slices.Clone(crashTopics), telemetryTopic)...)
	events := pgtest.Query(t, url, "SELECT count(*) FROM picloud.events")[0]
	t.Logf("%d rounds, %s events in the tables", rounds, events)
}

// An operator's day with a database: it is seen to work, to fail, to catch up,
// and the node comes back on a new card. (OP-1, PB-6, PG-2, PG-5)
func TestCentralDay(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "fsync=off")
	url := server.Database(t)
	n := startNode(t, "PICLOUD_DATABASE_URL="+strings.Replace(url, "postgres@", "postgres:geheim@", 1))
	contains := func(text, want string) {
		t.Helper()
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	if out := n.cli("config", "show"); strings.Contains(out, "geheim") {
		t.Errorf("the password is shown:\n%s", out)
	}
	id := strings.TrimSpace(n.cli("publish", "door", `{"open": true}`))
	contains(n.cli("sync", "wait"), "is in Postgres")
	contains(n.cli("sync", "status"), "state       idle")
	key := n.key("", "instance:admin")
	var e struct {
		Durability string     `json:"durability"`
		CentralAt  *time.Time `json:"central_at"`
	}
	n.do(200, &e, "GET", "/v1/apps/default/events/"+id, key, "")
	if e.Durability != "central" || e.CentralAt == nil || time.Since(*e.CentralAt) > time.Minute {
		t.Errorf("%+v", e)
	}
	contains(n.cli("migrate", "status"), "0001_first")
	contains(n.cli("migrate", "check"), "can write to it")
	metrics := string(n.do(200, nil, "GET", "/metrics", key, "").body)
	contains(metrics, "picloud_sync_connected 1\n")
	contains(metrics, "picloud_sync_waiting_records 0\n")

	server.Kill()
	id = strings.TrimSpace(n.cli("publish", "door", `{"open": false}`))
	if out, errs, code := n.run("", "sync", "wait", "--timeout", "1s"); code != 6 {
		t.Errorf("waiting for a dead server: code %d, %s%s", code, out, errs)
	}
	status := n.cli("sync", "status")
	contains(status, "state       waiting")
	contains(status, "connect to Postgres")
	contains(n.cli("status"), "records wait: connect to Postgres")
	if out, _, code := n.run("", "doctor"); code != 1 || !strings.Contains(out, "BAD  postgres") {
		t.Errorf("doctor: code %d\n%s", code, out)
	}
	n.do(200, &e, "GET", "/v1/apps/default/events/"+id, key, "")
	if e.Durability != "local" {
		t.Errorf("%+v", e)
	}
	server.Start(t)
	n.cli("sync", "retry")
	contains(n.cli("sync", "wait", "--timeout", "20s"), "is in Postgres")
	contains(n.cli("events", "$node/sync"), `"state":"waiting"`)
	contains(n.cli("events", "$node/sync"), `"state":"connected"`)

	n.cli("topics", "create", "door", "--external")
	token := strings.TrimSpace(n.cli("tokens", "mint", "door"))
	recovery := strings.TrimSpace(n.cli("recovery-key"))
	n.cli("sync", "wait")
	before := n.cli("events", "door")
	n.kill()
	if err := os.RemoveAll(n.data); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := n.run("pcr-aaaa-bbbb\n", "restore", "--from-postgres"); code == 0 || !strings.Contains(errs, "recovery key does not fit") {
		t.Errorf("a wrong recovery key: code %d, %s%s", code, out, errs)
	}
	out, errs, code := n.run(strings.ToUpper(recovery)+"\n", "restore", "--from-postgres")
	if code != 0 {
		t.Fatalf("restore: code %d, %s%s", code, out, errs)
	}
	contains(out, "fenced off")
	n.start()
	if after := n.cli("events", "door"); withoutIDs(after) != withoutIDs(before) {
		t.Errorf("the history is\n%s\nit was\n%s", after, before)
	}
	s := n.subscribe(token, "/v1/apps/default/topics/door/events")
	s.want(t, "hello")
	n.cli("publish", "door", `"again"`)
	n.cli("sync", "wait")
	contains(strings.Join(pgtest.Query(t, url, "SELECT data::text FROM picloud.events WHERE topic = 'door' ORDER BY received_at, lsn"), " "), `"again"`)
	contains(strings.Join(pgtest.Query(t, url, "SELECT incarnation FROM picloud.nodes"), " "), "2")
	if left, _ := filepath.Glob(filepath.Join(n.data, ".restoring*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// withoutIDs leaves the ids out of a listing of events: a restore changes them.
func withoutIDs(listing string) string {
	var b strings.Builder
	for line := range strings.Lines(listing) {
		f := strings.Fields(line)
		b.WriteString(strings.Join(slices.Delete(f, 1, 2), " ") + "\n")
	}
	return b.String()
}
