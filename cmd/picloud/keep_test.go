package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/store"
)

// names lists a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// touch makes a file with an age.
func touch(t *testing.T, file string, age time.Duration) {
	t.Helper()
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
}

// OP-6: of the backups in a directory the newest stay, and nothing goes that is not a backup of this node.
func TestBackupKeepsTheNewest(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	dir := t.TempDir()
	ok(t, cfg, "backup", "--to", dir)
	first := names(t, dir)
	if len(first) != 1 {
		t.Fatalf("the first backup: %v", first)
	}
	s := series{dir: dir, id: strings.Split(first[0], "-")[len(strings.Split(first[0], "-"))-2]}
	if s.timeOf(first[0]) == "" {
		t.Fatalf("%s does not name the node and the time", first[0])
	}
	foreign := []string{
		"picloud-pi-20200101T000000Z.tar.gz", "picloud-pi-0123456789abcdef-20200101T000000Z.tar.gz", "picloud-pi-" + s.id + "-20200101T000000Z.tar.gz.bak",
		"picloud-pi-" + s.id + "-yesterday.tar.gz", "notes.txt", ".picloud-pi-0123456789abcdef-20200101T000000Z.tar.gz.1.tmp", ".other.tmp", "picloud-pi-x" + s.id + "-20200101T000000Z.tar.gz",
	}
	for _, name := range foreign {
		touch(t, filepath.Join(dir, name), 1000*time.Hour)
	}
	older := "picloud-a-former-name-" + s.id + "-20200101T000000Z.tar.gz"
	oldest := "picloud-pi-" + s.id + "-19700101T000000Z.tar.gz"
	cutOff, beingMade := ".picloud-pi-"+s.id+"-20200101T000000Z.tar.gz.1.tmp", ".picloud-pi-"+s.id+"-20200102T000000Z.tar.gz.2.tmp"
	ofTheFuture := ".picloud-pi-" + s.id + "-20990102T000000Z.tar.gz.3.tmp"
	for name, age := range map[string]time.Duration{older: time.Hour, oldest: time.Hour, cutOff: 48 * time.Hour, beingMade: time.Minute, ofTheFuture: -48 * time.Hour} {
		touch(t, filepath.Join(dir, name), age)
	}
	out := ok(t, cfg, "backup", "--to", dir, "--keep", "2")
	got := names(t, dir)
	for _, name := range append(foreign, first[0], beingMade) {
		if !slices.Contains(got, name) {
			t.Errorf("%s is gone", name)
		}
	}
	for _, name := range []string{older, oldest, cutOff, ofTheFuture} {
		if slices.Contains(got, name) {
			t.Errorf("%s is still there", name)
		}
	}
	if len(got) != len(foreign)+3 || !strings.Contains(out, older+": removed") {
		t.Errorf("left are %v\n%s", got, out)
	}
	for _, name := range got {
		if s.timeOf(name) == "" || !strings.HasSuffix(name, backupExt) {
			continue
		}
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.VerifyBackup(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = f.Close()
		if info, err := os.Stat(f.Name()); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// OP-6: the backup that was made stays, whatever its clock says, and a backup that fails removes nothing.
func TestBackupOfAWrongClockStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := series{dir: dir, name: "pi", id: "ab12"}
	made := "picloud-pi-ab12-19700101T000010Z.tar.gz"
	for _, name := range []string{made, "picloud-pi-ab12-20260101T000000Z.tar.gz", "picloud-pi-ab12-20260102T000000Z.tar.gz"} {
		touch(t, filepath.Join(dir, name), 0)
	}
	if _, err := s.thin(made, 2); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{made, "picloud-pi-ab12-20260102T000000Z.tar.gz"}) {
		t.Errorf("left are %v", got)
	}
	newest := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	for now, want := range map[time.Time]string{
		newest:                             "20260102T000001Z",
		newest.Add(500 * time.Millisecond): "20260102T000001Z",
		newest.Add(time.Hour):              "20260102T010000Z",
		newest.Add(-time.Hour):             "20260102T000001Z", // the clock has gone back
		time.Unix(5, 0):                    "20260102T000001Z",
	} {
		next, behind, err := s.next(now)
		if err != nil || filepath.Base(next) != "picloud-pi-ab12-"+want+".tar.gz" || behind.IsZero() == now.Before(newest) {
			t.Errorf("at %v the next one is %s behind %v, %v", now, next, behind, err)
		}
	}
}

// OP-6: backups that are made at the same time are all made, one after the other, and those that were made last stay.
func TestBackupsAtTheSameTime(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	dir := t.TempDir()
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := map[string]bool{}
	for range 4 {
		wg.Go(func() {
			out, errOut, code := do(t, cfg, "", "backup", "--to", dir, "--keep", "3")
			name, _, _ := strings.Cut(out, ": ")
			mu.Lock()
			defer mu.Unlock()
			if code != 0 || made[name] {
				t.Errorf("%d, %q was made twice\n%s", code, name, errOut)
			}
			made[name] = true
		})
	}
	wg.Wait()
	got := names(t, dir)
	if len(got) != 3 {
		t.Errorf("left are %v", got)
	}
	last := slices.Sorted(maps.Keys(made))[1:]
	for i, name := range got {
		if filepath.Join(dir, name) != last[i] {
			t.Errorf("left is %s, want %s", name, last[i])
		}
	}
}

// OP-6: what is wrong with --to and --keep is said before anything is written or removed.
func TestBackupToSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	touch(t, file, 0)
	for says, args := range map[string][]string{
		"not both":            {"--to", dir, "x.tar.gz"},
		"--keep is 1 or more": {"--to", dir, "--keep", "0"},
		"goes with --to":      {"--keep", "3"},
		"disk that is not":    {"--to", filepath.Join(dir, "none")},
		"not a directory":     {"--to", file},
	} {
		if _, errOut, code := do(t, cfg, "", append([]string{"backup"}, args...)...); code == 0 || !strings.Contains(errOut, says) {
			t.Errorf("%v: %d %s, want %q", args, code, errOut, says)
		}
	}
	away := cfg
	away.Data = t.TempDir()
	if _, _, code := do(t, away, "", "backup", "--to", dir, "--keep", "1"); code != exitUnreachable {
		t.Errorf("without a node: %d", code)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"file"}) {
		t.Errorf("left are %v", got)
	}
	if _, errOut, _ := do(t, cfg, "", "backup", "--to", filepath.Dir(cfg.Data)); !strings.Contains(errOut, "on the disk that has the data") {
		t.Errorf("a backup beside the data: %s", errOut)
	}
}

// OP-6: a directory that cannot be written to is told with what to do, and keeps what it has.
func TestBackupToAFullDiskSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		unix.ENOSPC: "make room there", unix.EDQUOT: "make room there", unix.EROFS: "remount,rw", unix.EACCES: "let the user that runs this write there",
	} {
		if got := hintOfDisk(fmt.Errorf("back up: %w", &os.PathError{Op: "write", Path: "/mnt/x", Err: err})); !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v", got)
		}
	}
	if got := hintOfDisk(io.ErrUnexpectedEOF); got != io.ErrUnexpectedEOF { //nolint:errorlint // it is to be the same
		t.Errorf("%v", got)
	}
}
