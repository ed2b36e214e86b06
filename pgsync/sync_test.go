package pgsync_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/pgsync/pgtest"
	"github.com/picloud/picloud/store"
)

// node is a store with its lane to Postgres.
type node struct {
	*store.Store
	lane *dispatch.Lane
	copy *pgsync.Sync
	stop func()
}

// start opens a node in dir. With an empty url it does not copy itself.
func start(t *testing.T, dir, url string, change ...func(*pgsync.Config, *dispatch.Config)) *node {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	st, err := store.Open(store.Config{Dir: dir, NodeName: "pi", ReserveBytes: -1, SegmentSize: 512 << 10, JournalBytes: 1 << 30, Retention: picloud.Retention{MaxEvents: 1 << 30, MaxBytes: 1 << 40}, Readers: []string{picloud.Central}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Store: st}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	running := 1
	storeCtx, stopStore := context.WithCancel(context.Background())
	go func() { ended <- st.Run(storeCtx) }()
	laneEnded := make(chan struct{})
	if url != "" {
		pc := pgsync.Config{URL: func() (string, error) { return url, nil }, Local: st, Place: dir, Version: "test", Migrate: true, Logger: log}
		dc := dispatch.Config{Name: picloud.Central, Journal: st, Logger: log, BackoffMin: 10 * time.Millisecond, BackoffMax: 50 * time.Millisecond}
		for _, c := range change {
			c(&pc, &dc)
		}
		n.copy = pgsync.New(pc)
		dc.Consumer = n.copy
		n.lane = dispatch.New(dc)
		go func() {
			defer close(laneEnded)
			ended <- n.lane.Run(ctx)
		}()
		running++
	} else {
		close(laneEnded)
	}
	stopped := false
	n.stop = func() {
		t.Helper()
		if stopped {
			return
		}
		stopped = true
		cancel()
		<-laneEnded
		stopStore()
		for range running {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(n.stop)
	return n
}

// set sets a key of the default app.
func (n *node) set(t *testing.T, key, value string, binary bool) {
	t.Helper()
	if _, err := n.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: key, Value: []byte(value), Binary: binary}); err != nil {
		t.Fatal(err)
	}
}

// drained waits until everything has been copied.
func (n *node) drained(t *testing.T) {
	t.Helper()
	n.until(t, "everything is copied", func(st dispatch.Status) bool { return st.State == dispatch.StateIdle && st.Waiting == 0 })
}

// until waits for a state of the lane.
func (n *node) until(t *testing.T, what string, ok func(dispatch.Status) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok(n.lane.Status()) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s; %+v", what, n.lane.Status())
		}
	}
}

func (n *node) publish(t *testing.T, topic string, data ...string) []picloud.Event {
	t.Helper()
	p := picloud.Publication{App: "default", By: picloud.LocalOperator()}
	for _, d := range data {
		p.Drafts = append(p.Drafts, picloud.Draft{Topic: topic, Data: []byte(d)})
	}
	events, err := n.Publish(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// published returns what the node has published, as tables show it.
func published(t *testing.T, n *node, topics ...string) []string {
	t.Helper()
	var out []string
	for after := uint64(0); ; {
		page, err := n.Events(t.Context(), picloud.HistoryQuery{App: "default", Topics: topics, After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			out = append(out, fmt.Sprintf("%s %s %s %s %s", e.Position, e.Topic, e.Data, e.Source, e.PublishedAt.Format(picloud.TimeLayout)))
		}
		if after = page.Next; !page.More {
			return out
		}
	}
}

// copied returns what the tables have, in the order of the journal.
func copied(t *testing.T, url string) []string {
	t.Helper()
	return pgtest.Query(t, url, copiedColumns+" ORDER BY node_id, epoch, lsn")
}

const copiedColumns = `SELECT epoch || '.' || seq, topic, data::text, source, to_char(published_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM picloud.events`

func same(t *testing.T, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Fatalf("%d rows, want %d; row %d is\n%s\nwant\n%s", len(got), len(want), i, g, w)
		}
	}
}

// PG-1: everything durable is copied, in order, exactly as it is.
func TestEverythingIsCopied(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := n.CreateApp(t.Context(), picloud.App{Name: "shop", Description: "d", AllowedOrigins: []string{"https://x.example"}})
	must(err)
	_, err = n.CreateTopic(t.Context(), picloud.Topic{App: "shop", Name: "till", External: true, AuthMode: picloud.AuthPublic, Retention: picloud.Retention{MaxAge: time.Hour}})
	must(err)
	_, err = n.CreateAPIKey(t.Context(), picloud.APIKey{ID: "k1", Label: "l", App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppRead}, Hash: [32]byte{1}})
	must(err)
	_, err = n.CreateAPIKey(t.Context(), picloud.APIKey{ID: "k2", Scopes: []picloud.Scope{picloud.ScopeInstanceRead}})
	must(err)
	key, err := n.EnsureSigningKey(t.Context(), "shop")
	must(err)
	n.publish(t, "a", `{"t": 20.5}`, `"ü"`, `null`)
	n.publish(t, "b", `[1, 2]`)
	n.set(t, "lamp", `{"on": true}`, false)
	n.set(t, "raw", "\x00\xff", true)
	n.set(t, "nothing", "", true)
	n.set(t, "gone", "1", false)
	must(n.DeleteEntry(t.Context(), picloud.Deletion{App: "default", Name: "gone"}))
	for _, name := range []string{"door", "gone"} {
		_, err = n.SaveScript(t.Context(), picloud.Script{App: "shop", Name: name, Source: "export default () => '\t'"}, picloud.Precondition{})
		must(err)
	}
	_, err = n.SaveTrigger(t.Context(), picloud.Trigger{App: "shop", Name: "bell", Kind: picloud.TriggerKV, Script: "door", Enabled: true})
	must(err)
	_, err = n.SaveCollection(t.Context(), picloud.Collection{App: "shop", Name: "orders", Indexes: []string{"who"}})
	must(err)
	for _, id := range []string{"1", "gone"} {
		_, err = n.PutDocument(t.Context(), picloud.DocumentChange{App: "shop", Collection: "orders", ID: id, Body: []byte(`{"who": "ada"}`)})
		must(err)
	}
	for _, path := range []string{"a/b", "gone", "replaced"} {
		_, err = n.PutFile(t.Context(), picloud.FileChange{App: "shop", Path: path, Type: "text/plain"}, strings.NewReader(large+path))
		must(err)
	}
	n.drained(t)
	_, err = n.PutFile(t.Context(), picloud.FileChange{App: "shop", Path: "replaced"}, strings.NewReader(""))
	must(err)
	must(n.DeleteFile(t.Context(), picloud.Deletion{App: "shop", Name: "gone"}))
	must(n.DeleteDocument(t.Context(), picloud.Deletion{App: "shop", Container: "orders", Name: "gone"}))
	must(n.DeleteScript(t.Context(), "shop", "gone", picloud.Precondition{}))
	must(n.RevokeAPIKey(t.Context(), "k2"))
	external := true
	_ = external
	_, err = n.SetExternal(t.Context(), "shop", "till", false)
	must(err)
	n.drained(t)

	same(t, copied(t, url), published(t, n, "a", "b"))
	check := func(sql string, want ...string) {
		t.Helper()
		same(t, pgtest.Query(t, url, sql), want)
	}
	check("SELECT name, description, allowed_origins FROM picloud.apps ORDER BY name",
		"default The app that is there from the start. []", "shop d [https://x.example]")
	check("SELECT app, name, external, auth_mode, durability, max_age_sec FROM picloud.topics", "shop till false public sync 3600")
	check("SELECT id, label, app, scopes, get_byte(hash, 0) FROM picloud.api_keys", "k1 l shop [app:read] 1")
	check("SELECT app, key_id, encode(secret, 'hex') FROM picloud.app_secrets", fmt.Sprintf("shop %s %x", key.ID, key.Secret))
	check("SELECT app, key, value, encode(bytes, 'hex'), version > 0, expires_at FROM picloud.kv ORDER BY key",
		"default lamp map[on:true] <nil> true <nil>", "default nothing <nil>  true <nil>", "default raw <nil> 00ff true <nil>")
	check("SELECT app, kind, name, body->>'source', CASE WHEN kind = 'script' THEN body->>'version' END FROM picloud.definitions ORDER BY kind", "shop collection orders <nil> <nil>",
		"shop script door export default () => '\t' 1", "shop trigger bell <nil> <nil>")
	check("SELECT app, path, type, size, sha256 = encode(sha256(coalesce((SELECT string_agg(bytes, '' ORDER BY part) FROM picloud.file_parts p WHERE p.content = f.content), '')), 'hex') FROM picloud.files f ORDER BY path",
		"shop a/b text/plain 640003 true", "shop replaced application/octet-stream 0 true")
	check("SELECT count(*) FROM picloud.file_parts", "3")
	check("SELECT app, collection, id, body, version > 0 FROM picloud.documents", "shop orders 1 map[who:ada] true")
	check("SELECT node, state, backlog, set_aside, apps FROM picloud.fleet", "pi in sync 0 0 2")
	if got := n.Cursor(picloud.Central).LSN; got != n.LastLSN() {
		t.Errorf("the cursor is at %d, the journal at %d", got, n.LastLSN())
	}
}

// An event that a table will never accept is set aside with its bytes; the rows
// before and behind it go on (PG-2).
func TestPoisonIsSetAside(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, "")
	if _, err := pgsync.MigrateUp(t.Context(), urlOf(url)); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, `ALTER TABLE picloud.events ADD CONSTRAINT harmless CHECK (topic <> 'bad')`)
	bad := []string{`"zero \u0000 byte"`, `1e400000000`}
	var want []string
	for i := range 20 {
		n.publish(t, "a", fmt.Sprint(i), fmt.Sprint(-i))
		if i == 7 || i == 13 {
			n.publish(t, "bad", bad[0])
			bad = bad[1:]
		}
	}
	want = published(t, n, "a")
	n.stop()
	n = start(t, dir, url)
	n.publish(t, "a", `"behind"`)
	n.drained(t)
	want = append(want, published(t, n, "a")[len(want)])
	same(t, copied(t, url), want)
	aside := pgtest.Query(t, url, "SELECT kind, app, name, convert_from(body, 'UTF8'), reason FROM picloud.set_aside ORDER BY lsn")
	if len(aside) != 2 || !strings.HasPrefix(aside[0], `event default bad "zero \u0000 byte" `) || !strings.Contains(aside[0], "SQLSTATE 23514") ||
		!strings.HasPrefix(aside[1], `event default bad 1e400000000 `) {
		t.Errorf("set aside: %q", aside)
	}
	if st := n.lane.Status(); st.SetAside != 2 {
		t.Errorf("the lane tells of %d set aside", st.SetAside)
	}
}

// What was set aside for a reason that was mended goes to its place by the
// statement in docs/postgres.md.
func TestWhatWasSetAsideCanBeMended(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	n.drained(t)
	pgtest.Exec(t, url, `ALTER TABLE picloud.events ADD CONSTRAINT too_hot CHECK ((data->>'t')::float < 50)`)
	n.publish(t, "a", `{"t": 20}`)
	n.publish(t, "a", `{"t": 80}`)
	n.publish(t, "a", `{"t": 21}`)
	n.drained(t)
	same(t, pgtest.Query(t, url, "SELECT data->>'t' FROM picloud.events ORDER BY lsn"), []string{"20", "21"})
	doc, err := os.ReadFile("../docs/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sql\n(WITH mended.*?)```").FindSubmatch(doc)
	if block == nil {
		t.Fatal("docs/postgres.md has no such block")
	}
	pgtest.Exec(t, url, "ALTER TABLE picloud.events DROP CONSTRAINT too_hot")
	pgtest.Exec(t, url, string(block[1]))
	same(t, copied(t, url), published(t, n, "a"))
	same(t, pgtest.Query(t, url, "SELECT count(*) FROM picloud.set_aside"), []string{"0"})
}

// A deleted topic takes its events with it, in the copy as on the node.
func TestDeletedTopicIsPurged(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := start(t, t.TempDir(), url)
	if _, err := n.CreateTopic(t.Context(), picloud.Topic{App: "default", Name: "a"}); err != nil {
		t.Fatal(err)
	}
	n.publish(t, "a", "1", "2")
	n.publish(t, "b", "3")
	if err := n.DeleteTopic(t.Context(), "default", "a"); err != nil {
		t.Fatal(err)
	}
	n.publish(t, "a", "4")
	n.drained(t)
	waitFor(t, "the events of the deleted topic are removed", func() bool {
		n.lane.Poke() // at once, and not when the next tick is due
		return len(copied(t, url)) == 2
	})
	same(t, copied(t, url), published(t, n, "a", "b"))
	waitFor(t, "nothing is left to remove", func() bool {
		n.lane.Poke()
		return pgtest.Query(t, url, "SELECT count(*) FROM picloud.purges")[0] == "0"
	})
}
