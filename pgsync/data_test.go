package pgsync_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/pgsync/pgtest"
	"github.com/picloud/picloud/store"
)

// PG-1: a node that gets a database when its journal has long dropped its
// beginning copies all that its apps keep, and then follows the journal.
func TestDataOlderThanTheJournalIsCopied(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := alone(t, store.Config{Dir: dir, JournalBytes: 1 << 20, CheckpointBytes: 100_000, Retention: picloud.Retention{MaxEvents: 10}})
	if _, err := n.SaveScript(t.Context(), picloud.Script{App: "default", Name: "door", Source: "export default () => 1"}, picloud.Precondition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.SaveTrigger(t.Context(), picloud.Trigger{App: "default", Name: "bell", Kind: picloud.TriggerPubSub, Script: "door"}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.PutDocument(t.Context(), picloud.DocumentChange{App: "default", Collection: "c", ID: "d", Body: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	for i := range 1200 {
		n.set(t, fmt.Sprint("k", i), fmt.Sprint(i), false)
	}
	for n.Stats().FirstLSN <= 2500 {
		n.publish(t, "a", `"`+strings.Repeat("x", 50_000)+`"`)
	}
	n.stop()
	n = start(t, dir, url)
	n.set(t, "k7", `"changed"`, false)
	if err := n.DeleteEntry(t.Context(), picloud.Deletion{App: "default", Name: "k8"}); err != nil {
		t.Fatal(err)
	}
	n.drained(t)
	same(t, pgtest.Query(t, url, "SELECT count(*), count(*) FILTER (WHERE key = 'k' || (value)::text) FROM picloud.kv"), []string{"1199 1198"})
	same(t, pgtest.Query(t, url, "SELECT kind, name FROM picloud.definitions ORDER BY kind"), []string{"script door", "trigger bell"})
	same(t, pgtest.Query(t, url, "SELECT collection, id FROM picloud.documents"), []string{"c d"})
}

// alone opens a node that nobody is owed anything of.
func alone(t *testing.T, sc store.Config) *node {
	t.Helper()
	sc.ReserveBytes, sc.SegmentSize = -1, 512<<10
	st, err := store.Open(sc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	return &node{Store: st, stop: func() {
		cancel()
		if err := errors.Join(<-ended, st.Close()); err != nil {
			t.Error(err)
		}
	}}
}
