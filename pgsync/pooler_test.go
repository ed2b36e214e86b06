package pgsync_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/pgsync/pgtest"
)

// PG-6: through PgBouncer, in session and in transaction mode, nodes are copied exactly
// once and in order, hear of each other, are told apart from their copies, and are
// restored; nothing that they set stays behind in sessions that others get.
func TestThroughPgBouncer(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"session", "transaction"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			direct := pgtest.Database(t)
			url := pgtest.Pooler(t, direct, mode)
			dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
			var nodes []*node
			for _, dir := range dirs {
				nodes = append(nodes, start(t, dir, url, notify))
			}
			e := listenOn(t, nodes[0], url)
			for _, n := range nodes {
				n.drained(t)
			}
			var wg sync.WaitGroup
			for _, n := range nodes {
				wg.Go(func() {
					for i := range 300 {
						n.publish(t, "a", fmt.Sprint(i))
						if i%10 == 0 {
							n.set(t, fmt.Sprint("k", i), fmt.Sprintf(`{"b":%d,"a":1}`, i), false)
						}
					}
				})
			}
			wg.Wait()
			for i, n := range nodes {
				n.drained(t)
				want := published(t, n, "a")
				same(t, copiedOf(t, direct, n.Node().ID), want)
				if i > 0 {
					waitFor(t, "its events come", func() bool { return len(e.of(n.Node().ID)) >= 300 })
					if got := len(e.of(n.Node().ID)); got != 300 {
						t.Errorf("%d events came of 300", got)
					}
				}
			}
			if limits := pgtest.Query(t, url+"&default_query_exec_mode=simple_protocol", "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"); limits[0] != "0 0" {
				t.Errorf("the next client of a session finds %q", limits)
			}
			twin := start(t, clone(t, dirs[1]), url)
			twin.publish(t, "a", `"twin"`)
			twin.until(t, "the copy is refused", func(st dispatch.Status) bool { return st.State == dispatch.StateWaiting && st.Error != "" })
			nodes[1].publish(t, "a", `"goes on"`)
			nodes[1].drained(t)
			same(t, copiedOf(t, direct, nodes[1].Node().ID), published(t, nodes[1], "a"))

			want, key, id := published(t, nodes[2], "a"), nodes[2].RecoveryKey(), nodes[2].Node().ID
			nodes[2].stop()
			restored, _ := restore(t, url, id, key, keepAll)
			fresh := start(t, restored, url)
			same(t, withoutEpoch(published(t, fresh, "a")), withoutEpoch(want))
			fresh.publish(t, "a", `"restored"`)
			fresh.drained(t)
			old := start(t, dirs[2], url)
			old.publish(t, "a", `"from the old card"`)
			old.until(t, "the old card is refused", waiting("this is an old card"))
		})
	}
}

// PG-6: a copy goes on through a pooler that comes between while it runs, whose sessions
// have statements of others.
func TestPoolerThatComesBetween(t *testing.T) {
	t.Parallel()
	direct := pgtest.Database(t)
	pooled := pgtest.Pooler(t, direct, "transaction")
	var mu sync.Mutex
	url := direct
	n := start(t, t.TempDir(), direct, func(pc *pgsync.Config, _ *dispatch.Config) {
		pc.URL = func() (string, error) {
			mu.Lock()
			defer mu.Unlock()
			return url, nil
		}
	})
	n.publish(t, "a", "1")
	n.drained(t)
	mu.Lock()
	url = pooled
	mu.Unlock()
	for i := range 5 {
		pgtest.Exec(t, direct, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		n.publish(t, "a", fmt.Sprint(i))
		n.drained(t)
	}
	same(t, copied(t, direct), published(t, n, "a"))
}

// RT-10: with a direct URL beside that of a pooler, events of other nodes come by
// notification.
func TestDirectURLBesideAPooler(t *testing.T) {
	t.Parallel()
	direct := pgtest.Database(t)
	pooled := pgtest.Pooler(t, direct, "transaction")
	here := start(t, t.TempDir(), pooled, notify)
	here.drained(t)
	of := func(url string) func() (string, error) { return func() (string, error) { return url, nil } }
	c := pgsync.NewCluster(pgsync.Config{URL: of(pooled), DirectURL: of(direct), Local: here, Timeout: 5 * time.Second}, &ear{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	waitFor(t, "it listens", func() bool {
		return pgtest.Query(t, direct, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'picloud' AND datname = current_database()")[0] == "1"
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// copiedOf is copied of one node.
func copiedOf(t *testing.T, url, id string) []string {
	t.Helper()
	return pgtest.Query(t, url, copiedColumns+" WHERE node_id = $1 ORDER BY epoch, lsn", id)
}
