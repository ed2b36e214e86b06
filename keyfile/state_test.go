package keyfile_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/picloud/picloud/keyfile"
)

// A change is seen wherever it happens: in the file, in its place, in a link to it and in a
// link on the way to it.
func TestStateSeesEveryChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	relink := func(target, link string) {
		t.Helper()
		must(os.Symlink(target, at(link+".new")))
		must(os.Rename(at(link+".new"), at(link)))
	}
	for _, version := range []string{"v1", "v2"} {
		must(os.Mkdir(at(version), 0o700))
		must(os.WriteFile(at(version+"/file"), []byte(version), 0o600))
	}
	relink("v1", "data")
	relink("data/file", "link")
	relink("nowhere", "dangling")
	names := []string{at("link"), at("dangling")}
	seen := keyfile.StatesOf(names...)
	if !maps.Equal(seen, keyfile.StatesOf(names...)) {
		t.Error("files at rest differ")
	}
	for _, step := range []struct {
		name   string
		change func()
	}{
		{"the file is written in place", func() { must(os.WriteFile(at("v1/file"), []byte("more"), 0o600)) }},
		{"a directory on the way is another", func() { relink("v2", "data") }},
		{"the link leads to another file", func() { relink("v1/file", "link") }},
		{"the file is renamed over", func() { must(os.Rename(at("v2/file"), at("v1/file"))) }},
		{"the file is removed", func() { must(os.Remove(at("v1/file"))) }},
		{"the target of a dangling link comes", func() { must(os.WriteFile(at("nowhere"), nil, 0o600)) }},
	} {
		step.change()
		now := keyfile.StatesOf(names...)
		if maps.Equal(seen, now) {
			t.Errorf("not seen: %s", step.name)
		}
		seen = now
	}
}

// A name leads through a link when it is one, or a directory before it is.
func TestLinked(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"link": "plain", "here": ".", "dangling": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"plain": false, "": false, "link": true, "here/plain": true, "dangling": true, "nowhere": true} {
		if got := keyfile.Linked(filepath.Join(dir, name)); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
