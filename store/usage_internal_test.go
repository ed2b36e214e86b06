package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/pgsync/pgtest"
)

// SR-3: every kind of row is in the table that says what makes it grow and what bounds it.
func TestEveryKindHasItsLimit(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if cells := strings.Split(line, "|"); len(cells) > 4 {
			for name := range strings.SplitSeq(cells[1], ",") {
				listed[strings.TrimSpace(name)] = true
			}
		}
	}
	for tb, k := range kinds {
		if k != nil && table(tb) != tableToy && !listed[k.name] { // #nosec G115 -- below maxTables
			t.Errorf("docs/limits.md does not say what bounds %s", k.name)
		}
	}
}

// SR-3: what an app keeps is counted right in a node that comes back from Postgres.
func TestUsageComesBackFromPostgres(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s, stop := open(t, filepath.Join(t.TempDir(), "node"))
	for i := range 200 { // each key and document several times
		key := fmt.Sprint("k", i%30)
		if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: picloud.DefaultApp, Key: key, Value: fmt.Appendf(nil, "%d", i*i)}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.PutDocument(t.Context(), picloud.DocumentChange{App: picloud.DefaultApp, Collection: "c", ID: key, Body: fmt.Appendf(nil, `{"n":%d}`, i*i)}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.PutFile(t.Context(), picloud.FileChange{App: picloud.DefaultApp, Path: key, Size: -1}, strings.NewReader(strings.Repeat("x", i))); err != nil {
			t.Fatal(err)
		}
	}
	copyToPostgres(t, s, url)
	want, id, key := s.Counted(picloud.DefaultApp), s.Node().ID, s.RecoveryKey()
	stop()
	dir := rebuildFromPostgres(t, url, id, key)
	rebuilt, _ := open(t, dir)
	if got := rebuilt.Counted(picloud.DefaultApp); got != want || got != rebuilt.Recounted(picloud.DefaultApp) {
		t.Errorf("it is said to keep\n%s, want\n%s, but keeps\n%s", got, want, rebuilt.Recounted(picloud.DefaultApp))
	}
}
