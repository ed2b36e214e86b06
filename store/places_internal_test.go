package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
)

// DM-6: whatever is in the place of a file or a folder, a start ends: it serves and tells,
// or it is refused with one thing to do, and nothing has changed.
func TestOddThingsInPlaceOfFiles(t *testing.T) {
	t.Parallel()
	file := func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }
	pipe := func(path string) error { return syscall.Mkfifo(path, 0o600) }
	folder := func(path string) error { return os.Mkdir(path, 0o700) }
	link := func(path string) error { return os.Symlink("/nowhere/at/all", path) }
	for _, c := range []struct {
		place, what string
		put         func(path string) error
		refused     string // what the error says; empty: it starts
		told        string
	}{
		{"lock", "folder", folder, "lock is a folder; nothing was changed; remove it", ""},
		{"lock", "link", link, "remove the link", ""},
		{"lock", "pipe", pipe, "", ""},
		{"journal", "link", link, "mount", ""},
		{stateFile, "folder", folder, "", "state.db could not be used"},
		{stateFile, "pipe", pipe, "", "state.db could not be used"},
		{stateFile, "link", link, "mount", ""},
		{blobsDir, "file", file, "", "cannot be used"},
		{blobsDir, "pipe", pipe, "", "cannot be used"},
		{blobsDir, "link", link, "", "cannot be used"},
		{restoring, "file", file, "remove it", ""},
		{cacheFile, "folder", folder, "", ""},
		{cacheFile, "pipe", pipe, "", ""},
		{cacheFile, "link", link, "", ""},
		{damagedDir, "file", file, "", "node.json could not be used"},
		{damagedDir, "pipe", pipe, "", "node.json could not be used"},
		{damagedDir, "link", link, "", "node.json could not be used"},
	} {
		t.Run(c.what+" for "+c.place, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_, stop := open(t, dir)
			stop()
			path := filepath.Join(dir, c.place)
			if err := errors.Join(os.RemoveAll(path), c.put(path)); err != nil {
				t.Fatal(err)
			}
			if c.place == damagedDir { // something is to be set aside
				flip(t, filepath.Join(dir, identityFile), 10)
			}
			before := namesIn(t, dir)
			if c.refused != "" {
				_, err := Open(Config{Dir: dir, ReserveBytes: -1})
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("%v; want one that says %s", err, c.refused)
				}
				if after := namesIn(t, dir); !slices.Equal(before, after) {
					t.Errorf("there is %q, before there was %q", after, before)
				}
				return
			}
			s, _ := open(t, dir)
			if notes := strings.Join(s.Health().Notes, "\n"); (notes == "") != (c.told == "") || !strings.Contains(notes, c.told) {
				t.Errorf("told: %s", notes)
			}
		})
	}
}

func namesIn(t *testing.T, dir string) (names []string) {
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

// DM-4, DM-6: on a disk that cannot be written, a damaged node.json is served by its copy,
// and with both damaged the node serves what it has.
func TestReadOnlyAndDamagedIdentity(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root to mount")
	}
	for name, files := range map[string][]string{"one": {identityFile}, "the copy": {identityCopy}, "both": {identityFile, identityCopy}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s, stop := open(t, dir)
			id := s.ident.ID
			stop()
			for _, f := range files {
				flip(t, filepath.Join(dir, f), 0)
			}
			if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
				t.Fatalf("mount: %v", err)
			}
			defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
			if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				t.Fatalf("remount: %v", err)
			}
			s, stop = open(t, dir)
			if h := s.Health(); !h.ReadOnly || len(h.Notes) < 1+len(files) || s.ident.ID != id {
				t.Errorf("%s, before %s; health %+v", s.ident.ID, id, h)
			}
			stop()
		})
	}
}

// DM-6: on a full disk a node that has nothing yet is refused and leaves nothing that was
// damaged; one whose node.json is damaged serves by the copy, and writes it again later.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root to mount")
	}
	mounted := func(t *testing.T) (disk string, fill func() (free func())) {
		t.Helper()
		disk = t.TempDir()
		if err := unix.Mount("none", disk, "tmpfs", 0, "size=16m"); err != nil {
			t.Fatalf("mount: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
		return disk, func() func() {
			f, err := os.Create(filepath.Join(disk, "filling"))
			if err != nil {
				t.Fatal(err)
			}
			for b := make([]byte, 4096); err == nil; {
				_, err = f.Write(b)
			}
			if !isFull(err) {
				t.Fatal(err)
			}
			_ = f.Close()
			return func() { _ = os.Remove(f.Name()) }
		}
	}
	t.Run("first start", func(t *testing.T) {
		t.Parallel()
		disk, fill := mounted(t)
		free := fill()
		dir := filepath.Join(disk, "data")
		cfg := Config{Dir: dir, ReserveBytes: -1, SegmentSize: 512 << 10}
		if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "free space") {
			t.Errorf("the start: %v", err)
		}
		if names := namesIn(t, dir); slices.Contains(names, damagedDir) {
			t.Errorf("there is %q", names)
		}
		free()
		s, _ := openAs(t, cfg)
		if h := s.Health(); h.Degraded {
			t.Errorf("health %+v", h)
		}
	})
	for name, damage := range map[string]func(t *testing.T, path string){
		"state.db damaged": func(t *testing.T, path string) {
			t.Helper()
			for page := range int64(2) {
				flip(t, path, page*4096+20)
			}
		},
		"state.db missing": func(t *testing.T, path string) {
			t.Helper()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk, fill := mounted(t)
			cfg := Config{Dir: filepath.Join(disk, "data"), ReserveBytes: -1, SegmentSize: 512 << 10}
			s, stop := openAs(t, cfg)
			if _, err := s.SetEntry(t.Context(), picloud.EntryChange{App: picloud.DefaultApp, Key: "k", Value: []byte("1")}); err != nil {
				t.Fatal(err)
			}
			stop()
			damage(t, filepath.Join(cfg.Dir, stateFile))
			before := namesIn(t, cfg.Dir)
			free := fill()
			if _, err := Open(cfg); err == nil || strings.Count(err.Error(), freeSpace) != 1 || !strings.Contains(err.Error(), "nothing was changed") {
				t.Errorf("the start: %v", err)
			}
			if names := namesIn(t, cfg.Dir); !slices.Equal(names, before) {
				t.Errorf("there is %q, before there was %q", names, before)
			}
			free()
			s, _ = openAs(t, cfg)
			if e, err := s.Entry(picloud.DefaultApp, "k"); err != nil || string(e.Value) != "1" {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
	t.Run("damaged", func(t *testing.T) {
		t.Parallel()
		disk, fill := mounted(t)
		cfg := Config{Dir: filepath.Join(disk, "data"), ReserveBytes: -1, SegmentSize: 512 << 10}
		s, stop := openAs(t, cfg)
		before := s.ident
		stop()
		flip(t, filepath.Join(cfg.Dir, identityFile), 20)
		free := fill()
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if h := s.Health(); !h.Degraded || s.ident.ID != before.ID || s.ident.Epoch != before.Epoch {
			t.Errorf("%+v, before %+v; health %+v", s.ident, before, h)
		}
		_ = s.Close() // there is no space to note the stop
		free()
		s, _ = openAs(t, cfg)
		if _, faults, err := readIdentities(cfg.Dir); err != nil || faults != (identityFaults{}) || s.ident.ID != before.ID {
			t.Errorf("%s, before %s; %+v, %v", s.ident.ID, before.ID, faults, err)
		}
	})
}
