package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// reasonExt is the ending of the file that says why another was rejected.
const reasonExt = ".reason"

// folderError is trouble with a folder: no fault of the files in it, and none of
// the node.
type folderError struct{ err error }

// Error says what is wrong with the folder.
func (e *folderError) Error() string {
	return "prepare the archive of a spool folder: " + e.err.Error()
}

// Unwrap returns the cause.
func (e *folderError) Unwrap() error { return e.err }

func isFolder(err error) bool {
	_, ok := errors.AsType[*folderError](err)
	return ok
}

// prepare makes the folder that the file at path will be archived in, and sees
// to it that the file can be moved there: what cannot be archived is not
// published, since after a day it would be published again.
func (s *Spool) prepare(path string) error {
	dir := filepath.Dir(path)
	at, in, err := s.below(dir, archiveDir)
	if err == nil {
		_ = errors.Join(at.Close(), in.Close()) // only looked at
		err = unix.Access(dir, unix.W_OK|unix.X_OK)
	}
	if err == nil {
		err = unix.Access(filepath.Join(dir, archiveDir), unix.W_OK|unix.X_OK)
	}
	if err != nil {
		return &folderError{err: err}
	}
	return nil
}

// archive moves a published file into its archive. If that fails the file is
// remembered as published, and moving it is tried again.
func (s *Spool) archive(path string, st stamp) {
	if _, err := s.move(path, archiveDir, ""); err != nil && !errors.Is(err, fs.ErrNotExist) {
		if s.unmoved[path] != st {
			s.unmoved[path] = st
			s.log.Error("a published file cannot be archived: check the owner of its folder and the disk", slog.String("path", s.relative(path)), slog.Any("err", err))
		}
		s.due(s.cfg.Now().Add(s.cfg.Rescan))
		return
	}
	delete(s.unmoved, path)
}

// reject moves a file aside and writes beside it why.
func (s *Spool) reject(path string, st stamp, why error) {
	if filepath.Dir(path) == s.cfg.Dir {
		s.putUpWith(path, st, errors.New("files belong into a folder <app>/<topic>")) // here 'rejected' would be an app
		return
	}
	name, err := s.move(path, rejectedDir, fmt.Sprintf("%s was not published.\n\n%s\n\nWhen this is put right, move the file back into its folder.\n", filepath.Base(path), reasonText(why)))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.putUpWith(path, st, err)
		}
		return
	}
	s.rejected.Inc()
	s.log.Warn("a file in the spool was rejected: the reason is beside it", slog.String("path", s.relative(name)), slog.Any("err", why))
}

// reasonText is what a reason file says: where, what, and what to do.
func reasonText(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

// move moves a file into the folder sub beside it, with a reason beside the file
// unless that is empty, and returns where it is. The reason comes first: a rejected file
// without one would puzzle its finder.
func (s *Spool) move(path, sub, reason string) (string, error) {
	dir, base := filepath.Split(path)
	at, in, err := s.below(dir, sub)
	if err != nil {
		return "", err
	}
	defer func() { _ = errors.Join(at.Close(), in.Close()) }() // nothing was written through them
	name := s.freeName(in, base)
	if reason != "" {
		err = write(in, name+reasonExt, reason)
	}
	if err == nil {
		err = at.Rename(base, filepath.Join(sub, name))
	}
	if err != nil {
		if reason != "" {
			_ = in.Remove(name + reasonExt)
		}
		return "", err
	}
	to := filepath.Join(dir, sub, name)
	s.booked(filepath.Dir(to))
	return to, nil
}

// write makes a new file.
func write(in *os.Root, name, text string) error {
	f, err := in.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o660)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// freeName returns a name for a file in a folder that overwrites nothing: its own,
// otherwise with the time and, if need be, a number. Only this package writes there, one
// file at a time.
func (s *Spool) freeName(in *os.Root, base string) string {
	free := func(name string) bool {
		for _, one := range []string{name, name + reasonExt} {
			if _, err := in.Lstat(one); !errors.Is(err, fs.ErrNotExist) {
				return false
			}
		}
		return true
	}
	if free(base) {
		return base
	}
	ext := filepath.Ext(base)
	stem := strings.TrimSuffix(base, ext) + "." + s.cfg.Now().UTC().Format("20060102T150405Z")
	name := stem + ext
	for i := 2; !free(name); i++ {
		name = stem + "-" + strconv.Itoa(i) + ext
	}
	return name
}

// pruneAfter is how many files may be moved into a folder before it is pruned
// without waiting for the hour.
const pruneAfter = 1000

func (s *Spool) booked(dir string) {
	if s.archived[dir]++; s.archived[dir] >= pruneAfter {
		s.pruneDir(dir)
	}
}

// prune deletes what is too old or too much in all folders that files were
// moved to.
func (s *Spool) prune(ctx context.Context) {
	_ = filepath.WalkDir(s.cfg.Dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return fs.SkipAll
		case err != nil:
			return nil //nolint:nilerr // a folder that cannot be read holds nothing that can be pruned
		case e.IsDir() && path != s.cfg.Dir && s.ours(filepath.Dir(path), e.Name()):
			s.pruneDir(path)
			return fs.SkipDir
		}
		return nil
	})
}

// pruneDir deletes files of one folder that have been there for too long, and
// the oldest beyond the number that is kept. A file and its reason count as two.
func (s *Spool) pruneDir(dir string) {
	delete(s.archived, dir)
	age, keep := s.cfg.ArchiveAge, s.cfg.ArchiveFiles
	if filepath.Base(dir) == rejectedDir {
		age = s.cfg.RejectedAge
	}
	in, err := s.folder(dir)
	if err != nil {
		return // the next hour may know better
	}
	defer func() { _ = in.Close() }() // nothing was written through it
	entries, err := fs.ReadDir(in.FS(), ".")
	if err != nil {
		return // as above
	}
	type aged struct {
		name string
		at   int64
	}
	files := make([]aged, 0, len(entries))
	for _, e := range entries {
		if fi, err := e.Info(); err == nil && !e.IsDir() {
			files = append(files, aged{e.Name(), stampOf(fi).ctime}) // the change time: when it was moved here
		}
	}
	slices.SortFunc(files, func(a, b aged) int { return int(min(max(b.at-a.at, -1), 1)) })
	oldest := s.cfg.Now().Add(-age).UnixNano()
	for i, f := range files {
		if age > 0 && f.at < oldest || keep > 0 && i >= keep {
			if err := in.Remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.log.Warn("an old file of the spool cannot be deleted", slog.String("path", s.relative(dir)), slog.Any("err", err))
				return
			}
		}
	}
}
