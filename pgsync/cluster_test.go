package pgsync_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/pgsync/pgtest"
)

// ear is a Relay that remembers what it was given of two topics.
type ear struct {
	mu     sync.Mutex
	events []picloud.Event
}

func (e *ear) Relay(events []picloud.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, events...)
}

func (*ear) Listened() (apps, topics []string) {
	return []string{"default", "default"}, []string{"a", "b"}
}

// of returns what came from a node.
func (e *ear) of(node string) []picloud.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []picloud.Event
	for _, ev := range e.events {
		if ev.Node == node {
			out = append(out, ev)
		}
	}
	return out
}

// listenOn runs a Cluster for a node.
func listenOn(t *testing.T, n *node, url string) *ear {
	t.Helper()
	e := &ear{}
	c := pgsync.NewCluster(pgsync.Config{URL: func() (string, error) { return url, nil }, Local: n, Timeout: 5 * time.Second}, e)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return e
}

func notify(pc *pgsync.Config, _ *dispatch.Config) { pc.Notify = true }

// RT-10: what other nodes publish comes here exactly once and in their order,
// nothing that is not listened to, and not what this node has published itself;
// also when connections break again and again.
func TestClusterBringsEventsOfOthers(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	here := start(t, t.TempDir(), url, notify)
	others := []*node{start(t, t.TempDir(), url, notify), start(t, t.TempDir(), url, notify)}
	for _, n := range others {
		n.publish(t, "a", `"before anybody listened"`)
		n.drained(t)
	}
	here.drained(t)
	e := listenOn(t, here, url)
	waitFor(t, "it listens", func() bool {
		return pgtest.Query(t, url, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%id <>%' AND datname = current_database() AND pid <> pg_backend_pid()")[0] != "0"
	})
	var wg sync.WaitGroup
	for _, n := range append(others, here) {
		wg.Go(func() {
			for i := range 1500 {
				n.publish(t, []string{"a", "b", "c"}[i%3], fmt.Sprint(i), fmt.Sprint(-i))
				if i%100 == 0 {
					<-time.After(10 * time.Millisecond)
				}
			}
		})
	}
	for range 5 {
		<-time.After(50 * time.Millisecond)
		pgtest.Exec(t, url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'picloud' AND datname = current_database()")
	}
	wg.Wait()
	for _, n := range others {
		want := published(t, n, "a", "b")[1:]
		var got []picloud.Event
		waitFor(t, "all of it comes", func() bool {
			got = e.of(n.Node().ID)
			return len(got) >= len(want)
		})
		lines := make([]string, len(got))
		for i, ev := range got {
			lines[i] = fmt.Sprintf("%s %s %s %s %s", ev.Position, ev.Topic, ev.Data, ev.Source, ev.PublishedAt.Format(picloud.TimeLayout))
		}
		same(t, lines, want)
	}
	if own := e.of(here.Node().ID); own != nil {
		t.Errorf("%d of its own events came back", len(own))
	}
}

// SR-6: an event in the database that no node could have written does not come, and
// holds up none of those behind it.
func TestClusterPassesOverWhatNoNodeHasWritten(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	here := start(t, t.TempDir(), url, notify)
	other := start(t, t.TempDir(), url, notify)
	other.publish(t, "a", "1")
	other.drained(t)
	here.drained(t)
	id := other.Node().ID
	other.stop()
	e := listenOn(t, here, url)
	waitFor(t, "it listens", func() bool {
		return pgtest.Query(t, url, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%id <>%' AND datname = current_database() AND pid <> pg_backend_pid()")[0] != "0"
	})
	for i, exact := range []string{"1\n\ndata: 2", "{", "1 2", "", `"behind"`} {
		epoch := other.Node().Epoch.String()
		pgtest.Query(t, url, `WITH moved AS (UPDATE picloud.nodes SET lsn = lsn + 1 WHERE id = $1 RETURNING lsn)
			INSERT INTO picloud.events (node_id, epoch, lsn, app, topic, seq, exact, source, published_at) SELECT $1, $2, lsn, 'default', 'a', $3, $4, 'local', now() FROM moved RETURNING lsn`, id, epoch, 100+i, exact)
	}
	waitFor(t, "the last one comes", func() bool { return len(e.of(id)) > 0 })
	if got := e.of(id); len(got) != 1 || string(got[0].Data) != `"behind"` {
		t.Errorf("%d events came: %v", len(got), got)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}
