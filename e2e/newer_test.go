package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// DM-6: where a newer picloud has written, this one does not start, says what to do,
// and changes nothing: no file is set aside, no temporary file and no content swept.
func TestNewerDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	n, _, _ := filled(t)
	ident, err := os.ReadFile(filepath.Join(n.data, "node.json"))
	if err != nil {
		t.Fatal(err)
	}
	newer := regexp.MustCompile(`"format": \d+`).ReplaceAll(ident, []byte(`"format": 1000`))
	if bytes.Equal(newer, ident) {
		t.Fatalf("node.json has no format: %s", ident)
	}
	old := time.Now().Add(-48 * time.Hour)
	for name, b := range map[string][]byte{
		"node.json": newer, "state.db": []byte("of another shape"), "files/aaaaaaaaaaaaaaaaaaaaaaaaaa": []byte("content"), "files/a.tmp.1": []byte("half"),
	} {
		path := filepath.Join(n.data, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	before := files(t, n.data)
	p := n.launch()
	<-p.exited
	if p.code == 0 || !strings.Contains(p.log.String(), "node.json was written by a newer picloud") || !strings.Contains(p.log.String(), "install that version") {
		t.Errorf("exit code %d\n%s", p.code, p.log)
	}
	if after := files(t, n.data); !maps.Equal(before, after) {
		t.Errorf("the directory was\n%v\nand is\n%v", before, after)
	}
}

// files describes every file below a directory.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		all[path] = d.Type().String()
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = fmt.Sprintf("%v %x", info.ModTime(), sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
