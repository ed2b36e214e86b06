package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/picloud/picloud"
)

// SR-6: whatever a row calls its content, and whatever lies in its place, nothing but
// regular files of the directory of contents is read, backed up or removed.
func TestNoRowReachesOutOfTheDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s, _ := open(t, dir)
	outside := filepath.Join(filepath.Dir(dir), "shadow")
	if err := os.WriteFile(outside, []byte("root:x"), 0o600); err != nil {
		t.Fatal(err)
	}
	link, pipe, folder := "abcdefghijklmnopqrstuvwxya", "abcdefghijklmnopqrstuvwxyb", "abcdefghijklmnopqrstuvwxyc"
	in := func(name string) string { return filepath.Join(dir, blobsDir, name) }
	if err := errors.Join(os.Symlink(outside, in(link)), syscall.Mkfifo(in(pipe), 0o600), os.Mkdir(in(folder), 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../../shadow", outside, "..", ".", "", "../node.json", "./" + link, link, pipe, folder, link + "/x", "a\x00b"} {
		f := picloud.File{App: "default", Path: "p", Size: 6, Version: 1, Blob: name}
		if err := s.do(t.Context(), "", func(tx *tx) error {
			tx.put(tableFile, pair("default", "p"), f)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.OpenFile("default", "p"); !errors.Is(err, picloud.ErrFileLost) {
			t.Errorf("%q: reading the file: %v", name, err)
		}
		if _, err := s.OpenContent(picloud.File{Blob: name}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: copying the content: %v", name, err)
		}
		if err := s.DeleteFile(t.Context(), picloud.Deletion{App: "default", Name: "p"}); err != nil {
			t.Error(err)
		}
		if b, err := os.ReadFile(outside); string(b) != "root:x" {
			t.Fatalf("%q: the file outside is %q, %v", name, b, err)
		}
	}
	var archive bytes.Buffer
	if err := s.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(archive.Bytes(), []byte("root:x")) {
		t.Error("the backup has the file outside")
	}
	if _, err := os.Stat(filepath.Join(dir, identityFile)); err != nil {
		t.Error(err)
	}
}
