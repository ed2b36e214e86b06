package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// PG-6, SE-1: the file of the database's URL is read anew for each connection; whatever it
// has become, reading it ends, with a word about it.
func TestFileOfTheURL(t *testing.T) {
	t.Parallel()
	l, file := new(life), filepath.Join(t.TempDir(), "url")
	l.apply(Config{DatabaseURLFile: file})
	for _, url := range []string{"postgres://one", "postgres://two"} {
		if err := os.WriteFile(file, []byte(url+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := l.databaseURL(); err != nil || got != url {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := l.databaseURL(); got != "" || err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a pipe: %q, %v", got, err)
	}
}
