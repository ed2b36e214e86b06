package pgsync_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/pgsync/pgtest"
)

// DM-1: records that the card has lost without a trace, and Postgres has, stay there. Those
// that follow have other numbers.
func TestCopyKeepsWhatTheCardHasLost(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	dir := t.TempDir()
	n := start(t, dir, url)
	pad := strings.Repeat("x", 5000)
	n.publish(t, "a", `"first `+pad+`"`, `"second `+pad+`"`)
	n.set(t, "kept", "1", false)
	n.drained(t) // the session is noted
	n.publish(t, "a", `"lost `+pad+`"`)
	n.drained(t)
	want := published(t, n, "a")
	killed := clone(t, dir)
	n.stop()
	names, err := filepath.Glob(filepath.Join(killed, "journal", "*.log"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	newest := slices.Max(names)
	b, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(`"lost x`))
	clear(b[at : at+12000])
	if err := os.WriteFile(newest, b, 0o600); err != nil {
		t.Fatal(err)
	}
	pgtest.Query(t, url, "DELETE FROM picloud.kv RETURNING key") // stands for what the two do not have in common
	n = start(t, killed, url)
	if got := published(t, n, "a"); len(got) != 2 {
		t.Fatalf("%d events are left, the test needs 2", len(got))
	}
	n.publish(t, "a", `"after"`, `"that"`)
	n.drained(t)
	now := published(t, n, "a")
	want = append(want, now[len(now)-2:]...)
	got := withoutDamage(copied(t, url))
	sortLines(got)
	sortLines(want)
	same(t, got, want)
	same(t, pgtest.Query(t, url, "SELECT key, value FROM picloud.kv"), []string{"kept 1"})
}
