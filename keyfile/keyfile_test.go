package keyfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/picloud/picloud/keyfile"
)

// SE-1: a name that leads to something else than a small file is refused at once, with
// what it leads to.
func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"small": "key", "full": "12345678", "long": "123456789", "empty": ""} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("small", at("link")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"small": "key", "full": "12345678", "empty": "", "link": "key"} {
		if got, err := keyfile.Read(at(name), 8); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{"long": "has 9 bytes", "pipe": "no regular file", ".": "no regular file", "none": "no such file"} {
		if got, err := keyfile.Read(at(name), 8); err == nil || got != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
