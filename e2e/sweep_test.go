package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// SW-1: a node that starts removes what nobody will finish, and what no file has any
// more; it keeps what is young, what belongs to files, and what is not its own.
func TestSweptAtStart(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.cli("files", "put", "sweep_test.go", "kept")
	n.stop()
	dir := filepath.Join(n.data, "files")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	want := []string{entries[0].Name(), "notes", strings.Repeat("c", 26) + ".tmp.2"}
	for name, ago := range map[string]time.Duration{
		strings.Repeat("a", 26): time.Hour, strings.Repeat("b", 26) + ".tmp.1": 2 * time.Hour, want[2]: time.Minute, want[1]: 48 * time.Hour,
	} {
		path, at := filepath.Join(dir, name), time.Now().Add(-ago)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	n.start()
	slices.Sort(want)
	left := func() (names []string) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	until(t, "it is swept", func() bool { return len(left()) == len(want) })
	if got := left(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if out := n.cli("files", "get", "kept"); !strings.Contains(out, "TestSweptAtStart") {
		t.Error("a file was swept")
	}
}
