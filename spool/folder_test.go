package spool_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// SR-6: where the folder that files are moved to is a link, nothing is moved, written
// or pruned where it leads: not outside the spool, and not in the folder of another app.
// A file that could not be archived is not published.
func TestLinkInPlaceOfAFolderLeadsNowhere(t *testing.T) {
	t.Parallel()
	for name, to := range map[string]func(f *fixture) string{
		"outside":        func(*fixture) string { return t.TempDir() },
		"another app":    func(f *fixture) string { return filepath.Join(f.dir, "default", "victim") },
		"another topic":  func(*fixture) string { return "../victim" },
		"its own folder": func(*fixture) string { return "." },
	} {
		for _, folder := range []string{"archive", "rejected"} {
			t.Run(name+" as "+folder, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				target := to(f)
				in := filepath.Join(f.dir, "shop", "t")
				reached := target
				if !filepath.IsAbs(target) {
					reached = filepath.Join(in, target)
				}
				for _, dir := range []string{in, reached} {
					if err := os.MkdirAll(dir, 0o750); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.Symlink(target, filepath.Join(in, folder)); err != nil {
					t.Fatal(err)
				}
				before := len(list(t, reached))
				f.cfg.ArchiveAge, f.cfg.RejectedAge = time.Nanosecond, time.Nanosecond
				f.drop("shop/t/a.json", `1`)
				f.drop("shop/t/b.json", `{`)
				f.drop("shop/z/c.json", `2`)
				hourAgo := time.Now().Add(-time.Hour)
				if err := os.Chtimes(filepath.Join(in, "a.json"), hourAgo, hourAgo); err != nil { // it is taken before the link is looked at
					t.Fatal(err)
				}
				f.start()
				f.appears("shop/z/archive/c.json") // it comes after what is in t
				if name == "its own folder" {
					return // it is enough that there is an end to it
				}
				if after := list(t, reached); len(after) != before {
					t.Errorf("there is %v", after)
				}
				if got := f.data("victim"); len(got) != 0 {
					t.Errorf("the other topic has %q", got)
				}
			})
		}
	}
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
