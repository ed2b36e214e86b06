package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picloud/picloud/api"
)

// FI-1, OP-1: files from the command line.
func TestFileCommands(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	dir := t.TempDir()
	local := filepath.Join(dir, "door.txt")
	if err := os.WriteFile(local, []byte("open"), 0o600); err != nil {
		t.Fatal(err)
	}
	ok(t, cfg, "files", "put", local)
	ok(t, cfg, "files", "put", local, "a b/")
	ok(t, cfg, "files", "put", local, "c/d.bin", "--type", "x/y")
	if _, errOut, code := do(t, cfg, "", "files", "put", "-", "empty"); code != 0 {
		t.Fatal(errOut)
	}
	for path, want := range map[string]string{"door.txt": "open", "a b/door.txt": "open", "c/d.bin": "open", "empty": ""} {
		if got := ok(t, cfg, "files", "get", path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	to := filepath.Join(dir, "back.txt")
	ok(t, cfg, "files", "get", "door.txt", "--to", to)
	if b, err := os.ReadFile(to); err != nil || string(b) != "open" {
		t.Errorf("%q, %v", b, err)
	}
	if left, _ := filepath.Glob(to + ".*"); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	var f api.File
	if err := json.Unmarshal([]byte(ok(t, cfg, "files", "list", "--json", "c/")), &f); err != nil || f.Path != "c/d.bin" || f.Type != "x/y" || f.Size != 4 {
		t.Errorf("%+v, %v", f, err)
	}
	if out := ok(t, cfg, "files", "list"); strings.Count(out, "\n") != 5 || !strings.HasPrefix(out, "PATH") || !strings.Contains(out, "text/plain") {
		t.Errorf("list:\n%s", out)
	}
	if out := ok(t, cfg, "files", "list", "--limit", "2", "--json"); strings.Count(out, "\n") != 2 {
		t.Errorf("list of 2:\n%s", out)
	}
	if _, errOut, code := do(t, cfg, "", "files", "put", local, "--create"); code != exitRefused || !strings.Contains(errOut, "exists") {
		t.Errorf("%d %s", code, errOut)
	}
	ok(t, cfg, "files", "delete", "door.txt")
	if _, _, code := do(t, cfg, "", "files", "get", "door.txt"); code != exitNotFound {
		t.Errorf("a file that is gone: %d", code)
	}
	for _, args := range [][]string{{"files", "put", "-"}, {"files", "put", dir}, {"files", "list", "--limit", "0"}} {
		if _, _, code := do(t, cfg, "", args...); code != 2 {
			t.Errorf("%v: %d", args, code)
		}
	}
}
