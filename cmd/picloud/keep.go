package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/api"
)

// fileTime is how names of files have a time: they sort by it.
const fileTime = "20060102T150405Z"

// fileNamePart returns a name with nothing in it that names of files cannot have everywhere.
func fileNamePart(name string) string {
	name = strings.Trim(regexp.MustCompile(`[^A-Za-z0-9._-]+`).ReplaceAllString(name, "-"), ".-")
	return or(name[:min(len(name), 64)], "node")
}

// series are the backups of one node in a directory, also under names that it had before. Nothing
// else in the directory is touched. Names have the id of the node, since several nodes of one name may
// use the same directory: picloud-NAME-ID-TIME.tar.gz.
type series struct {
	dir  string
	name string // of the node, as names of files have it
	id   string
}

const (
	backupPrefix = "picloud-"
	backupExt    = ".tar.gz"
)

// next returns the path of a backup that is made now, which has no file. Its time is after that of all
// others, so that the order of the names is that in which they were made: behind is the time of the
// newest one when the clock is not past it; else it is zero.
func (s series) next(now time.Time) (path string, behind time.Time, err error) {
	names, err := s.list()
	if err != nil {
		return "", behind, err
	}
	now = now.UTC().Truncate(time.Second)
	if len(names) > 0 {
		newest, err := time.Parse(fileTime, s.timeOf(names[0]))
		if err == nil && now.Before(newest) {
			behind = newest
		}
		if err == nil && !now.After(newest) {
			now = newest.Add(time.Second)
		}
	}
	for ; ; now = now.Add(time.Second) { // something else may have the name
		path = filepath.Join(s.dir, backupPrefix+s.name+"-"+s.id+"-"+now.Format(fileTime)+backupExt)
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			return path, behind, nil
		} else if err != nil {
			return "", behind, err
		}
	}
}

// lockPause is the time between two attempts to lock a directory.
const lockPause = 200 * time.Millisecond

// lock waits until no other process makes a backup in the directory: two of one second would have the
// same name, and each would count the other's among the older ones. A file system without locks has none.
func (s series) lock(ctx context.Context, waits func()) (unlock func(), err error) {
	d, err := os.Open(s.dir)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockPause)
	defer tick.Stop()
	for told := false; ; told = true {
		if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
			return func() { _ = d.Close() }, nil // which unlocks it
		}
		if !told {
			waits()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), d.Close())
		}
	}
}

// timeOf returns the time in the name of a backup of the series; empty: it is none.
func (s series) timeOf(name string) string {
	rest, ok := strings.CutPrefix(name, backupPrefix)
	rest, ended := strings.CutSuffix(rest, backupExt)
	dash := strings.LastIndexByte(rest, '-')
	if !ok || !ended || dash < 0 || !strings.HasSuffix(rest[:dash], "-"+s.id) {
		return ""
	}
	if _, err := time.Parse(fileTime, rest[dash+1:]); err != nil {
		return ""
	}
	return rest[dash+1:]
}

// list returns the names of the backups, the newest first.
func (s series) list() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && s.timeOf(e.Name()) != "" {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(s.timeOf(b), s.timeOf(a)) })
	return names, nil
}

// thin removes all but keep backups, the one called made not among them whatever its time says: a
// board without a battery for its clock may have made it in 1970.
func (s series) thin(made string, keep int) (removed []string, err error) {
	names, err := s.list()
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == made })
	for _, n := range names[min(len(names), keep-1):] {
		if err := os.Remove(filepath.Join(s.dir, n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return removed, err
		}
		removed = append(removed, n)
	}
	return removed, nil
}

// abandoned is the age from which on a file of the series that is not whole is taken for one of a
// backup that was cut off.
const abandoned = 24 * time.Hour

// sweep removes what backups that were cut off have left.
func (s series) sweep(now time.Time) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "."+backupPrefix) || !strings.Contains(e.Name(), "-"+s.id+"-") || !strings.HasSuffix(e.Name(), unfinishedExt) {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || now.Sub(info.ModTime()).Abs() < abandoned {
			continue // gone, or of a backup that is being made; the clock may have gone back meanwhile
		}
		if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// backupTo makes a backup in a directory, and removes older ones of the node there when the new one
// is whole. keep 0 removes none.
func (c *cli) backupTo(ctx context.Context, dir string, keep int, data string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("back up: %w; it is not made by itself, since it may be a disk that is not mounted", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("back up: %s is not a directory", dir)
	}
	var n api.Node
	if err := c.call(ctx, http.MethodGet, "/v1/node", nil, &n); err != nil {
		return err
	}
	s := series{dir, fileNamePart(n.Name), n.ID}
	unlock, err := s.lock(ctx, func() { fmt.Fprintln(c.err, "Another backup is being made there: waiting for it.") })
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer unlock()
	name, behind, err := s.next(time.Now())
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if !behind.IsZero() {
		fmt.Fprintf(c.err, "The clock is behind the newest backup there, of %s: the name of this one follows it, so that the newest are kept.\n", behind.Format(time.RFC3339))
	}
	if err := s.sweep(time.Now()); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if sameDisk(dir, data) {
		fmt.Fprintln(c.err, "The backup is on the disk that has the data: copy it to another one, too.")
	}
	if err := c.fetchBackup(ctx, name); err != nil {
		return hintOfDisk(err) // older backups stay, also when something was damaged on the node
	}
	if keep == 0 {
		return nil
	}
	removed, err := s.thin(filepath.Base(name), keep)
	for _, old := range removed {
		c.printf("%s: removed, %d are kept\n", filepath.Join(dir, old), keep)
	}
	if err != nil {
		return fmt.Errorf("remove older backups: %w", err)
	}
	return nil
}

// hintOfDisk adds what to do to an error of a directory that cannot be written to.
func hintOfDisk(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w; older backups stay until a new one is whole: make room there, or use a larger disk", err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w; the disk is mounted for reading only: 'dmesg' may say why, and 'mount -o remount,rw' undoes it", err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w; let the user that runs this write there", err)
	}
	return err
}

// sameDisk reports whether two directories are known to be on one file system.
func sameDisk(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Dev == y.Dev
}
