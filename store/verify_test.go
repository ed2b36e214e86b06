package store_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// contentOf returns where the content of a file with a text lies.
func contentOf(t *testing.T, dir, text string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "files", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), text) {
			return path
		}
	}
	t.Fatalf("no content has %q: %v", text, paths)
	return ""
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// FI-1, DM-3: the content of a file is what was written, or reading it fails, and that is
// told. Other files are read as ever.
func TestDamagedContentIsNotServedWhole(t *testing.T) {
	t.Parallel()
	const text = "the content of a file"
	for name, damage := range map[string]func(b []byte) []byte{
		"a flipped bit":  func(b []byte) []byte { b[7] ^= 4; return b },
		"the last bit":   func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"zeros":          func(b []byte) []byte { clear(b); return b },
		"cut short":      func(b []byte) []byte { return b[:len(b)-1] },
		"empty":          func([]byte) []byte { return nil },
		"longer":         func(b []byte) []byte { return append(b, '!') },
		"of another one": func([]byte) []byte { return []byte(strings.Repeat("x", 100*len(text))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := start(t, store.Config{Dir: dir})
			for path, content := range map[string]string{"good": "good", "bad": strings.Repeat(text, 100)} {
				if _, err := s.PutFile(t.Context(), picloud.FileChange{App: "default", Path: path, Size: -1}, strings.NewReader(content)); err != nil {
					t.Fatal(err)
				}
			}
			at := contentOf(t, dir, text)
			b, err := os.ReadFile(at)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, at, damage(b))
			read := func(path string) (string, error) {
				t.Helper()
				_, c, err := s.OpenFile("default", path)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				b, err := io.ReadAll(io.LimitReader(c, 1<<20))
				return string(b), err
			}
			if got, err := read("bad"); !errors.Is(err, picloud.ErrFileDamaged) || len(got) >= 100*len(text) {
				t.Errorf("%d bytes were read, %v", len(got), err)
			}
			if got, err := read("good"); err != nil || got != "good" {
				t.Errorf("the other file is %q, %v", got, err)
			}
			if ids := s.open(); len(ids) != 1 {
				t.Errorf("incidents %v", s.Incidents())
			}
		})
	}
}

// DM-9: everything that is kept is read and checked, and what is damaged is told, before
// it is needed.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Dir: t.TempDir(), SegmentSize: 64 << 10}
	s := start(t, cfg)
	for i := range 40 {
		publish(t, s, "default", "t", fmt.Sprintf(`"event-%02d%s"`, i, strings.Repeat("x", 4000)))
		if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: "default", Key: fmt.Sprint(i), Value: []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if _, err := s.PutFile(t.Context(), picloud.FileChange{App: "default", Path: fmt.Sprint("f", i), Size: -1}, strings.NewReader(fmt.Sprint("file-", i, strings.Repeat("y", 200_000)))); err != nil {
			t.Fatal(err)
		}
	}
	verify := func() store.Verification {
		t.Helper()
		calls := 0
		v, err := s.Verify(t.Context(), func(store.Verification) error { calls++; return nil })
		if err != nil || calls < 5 {
			t.Fatalf("%+v after %d calls, %v", v, calls, err)
		}
		return v
	}
	if v := verify(); v.Damaged != 0 || v.Records < 80 || v.Rows < 40 || v.Files != 3 || v.Bytes < 700_000 || len(s.Incidents()) > 0 {
		t.Fatalf("sound: %+v, %v", v, s.Incidents())
	}
	s.stop(t)
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "journal", "*.log"))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	flip(t, files[0], "event-02")
	flip(t, contentOf(t, cfg.Dir, "file-1"), "file-1")
	removeAll(t, contentOf(t, cfg.Dir, "file-2"))
	s = start(t, cfg)
	if v := verify(); v.Damaged != 3 || v.Files != 3 || len(s.open()) != 3 {
		t.Errorf("damaged: %+v, %v", v, s.Incidents())
	}
	if v := verify(); v.Damaged != 3 || len(s.open()) != 3 {
		t.Errorf("again: %+v, %v", v, s.Incidents())
	}
	stop := errors.New("enough")
	if _, err := s.Verify(t.Context(), func(store.Verification) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped: %v", err)
	}
}
