package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/pgsync/pgtest"
)

// DM-9: an operator looks for damage, it is healed from Postgres, and the next look says that
// all is well: there is nothing to restore.
func TestVerifyHeals(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	n := startNode(t, "PICLOUD_DATABASE_URL="+url)
	content := strings.Repeat("0123456789abcdef", 40_000)
	if _, errs, code := n.run(content, "files", "put", "-", "plan.txt"); code != 0 {
		t.Fatal(errs)
	}
	n.cli("kv", "set", "a", "1")
	verify := func(want string) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		for {
			out, errs, _ := n.run("", "verify")
			if strings.Contains(out+errs, want) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("verify says %q %q, want %q", out, errs, want)
			}
			pause(t.Context(), 50*time.Millisecond) // until the copy has it
		}
	}
	verify("the copy in Postgres has the same")
	blobs, err := filepath.Glob(filepath.Join(n.data, "files", "*"))
	if err != nil || len(blobs) != 1 {
		t.Fatal(blobs, err)
	}
	b, err := os.ReadFile(blobs[0])
	if err != nil {
		t.Fatal(err)
	}
	b[300_000] ^= 1
	if err := os.WriteFile(blobs[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := n.run("", "verify"); code != 1 || !strings.Contains(errs, "1 of them are damaged") {
		t.Errorf("a look at damage: %d, %s", code, errs)
	}
	verify("the copy in Postgres has the same")
	if out, _, code := n.run("", "files", "get", "plan.txt"); code != 0 || !bytes.Equal([]byte(out), []byte(content)) {
		t.Errorf("%d, %d bytes came", code, len(out))
	}
	if out := n.cli("incidents", "list"); !strings.Contains(out, "It came back from the copy in Postgres.") {
		t.Error(out)
	}
}
