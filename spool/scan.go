package spool

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stamp tells whether a file is still what it was.
type stamp struct {
	ino, size    int64
	mtime, ctime int64 // nanoseconds
}

// sighting is a file that was not complete when it was looked at.
type sighting struct {
	stamp
	since time.Time // since when it has not changed
}

func stampOf(fi fs.FileInfo) stamp {
	st := stamp{size: fi.Size(), mtime: fi.ModTime().UnixNano()}
	if sys, ok := fi.Sys().(*syscall.Stat_t); ok {
		st.ino = int64(sys.Ino) // #nosec G115 -- compared, never counted with
		st.ctime = sys.Ctim.Nano()
	}
	return st
}

// scan looks at one folder and those below it: it watches them, and takes the
// files that are complete, in the order of their names.
func (s *Spool) scan(ctx context.Context, dir string) {
	if s.watcher != nil {
		if err := s.watcher.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.warnOnce(dir, "a spool folder is not watched: relying on the rescan", err)
		}
	}
	// Read after the watch is set: what comes between the two is seen twice,
	// never missed.
	entries, err := os.ReadDir(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.warnOnce(dir, "a spool folder cannot be read: check its owner and mode", err)
		}
		return
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return
		}
		path := filepath.Join(dir, e.Name())
		switch {
		case ignored(e.Name()):
		case e.IsDir():
			if !s.ours(dir, e.Name()) {
				s.scan(ctx, path)
			}
		default:
			s.consider(ctx, path)
		}
	}
}

// ours reports whether name in dir is a folder that files are moved to. A
// folder right below the root is an app, whatever its name.
func (s *Spool) ours(dir, name string) bool {
	return dir != s.cfg.Dir && (name == archiveDir || name == rejectedDir)
}

// consider takes the file at path if it is complete.
func (s *Spool) consider(ctx context.Context, path string) {
	fi, err := os.Lstat(path)
	if err != nil {
		return // gone again
	}
	now, st := s.cfg.Now(), stampOf(fi)
	if n, known := s.stuck[path]; known && n.stamp == st && now.Before(n.until) {
		return
	}
	if published, known := s.unmoved[path]; known && published == st {
		s.archive(path, st)
		return
	}
	if !fi.Mode().IsRegular() {
		s.reject(path, st, errNotRegular)
		return
	}
	if !s.complete(path, st, now) || now.Before(s.pause) {
		return
	}
	if until := s.held[filepath.Dir(path)]; now.Before(until) {
		s.due(until)
		return
	}
	s.take(ctx, path, st)
}

// complete reports whether the writer of a file has finished. A write sets both
// times of a file to the same instant and a rename moves one of them on, so a
// file whose change is younger than its last write was renamed here whole.
// Where that cannot be told, it must have been still for a while.
func (s *Spool) complete(path string, st stamp, now time.Time) bool {
	if st.size > 0 && st.ctime > st.mtime {
		return true
	}
	return s.still(path, st, now)
}

// emptyPatience is how many times Settle an empty file may stay so: 'program >
// file.json' makes the file long before the program has something to say.
const emptyPatience = 120

// still reports whether a file has not changed for Settle, and asks to be woken
// when that may be so.
func (s *Spool) still(path string, st stamp, now time.Time) bool {
	settle := s.cfg.Settle
	if st.size == 0 {
		settle *= emptyPatience
	}
	last, known := s.seen[path]
	if !known || last.stamp != st {
		last = sighting{stamp: st, since: now}
		s.seen[path] = last
	}
	if until := last.since.Add(settle); now.Before(until) {
		s.due(until)
		return false
	}
	return true
}

// forget drops what is remembered of files that are no longer there.
func (s *Spool) forget() {
	for path := range s.seen {
		if gone(path) {
			delete(s.seen, path)
		}
	}
	for path := range s.stuck {
		if gone(path) {
			delete(s.stuck, path)
		}
	}
	for path := range s.unmoved {
		if gone(path) {
			delete(s.unmoved, path)
		}
	}
	for dir := range s.held {
		if gone(dir) {
			delete(s.held, dir)
		}
	}
}

func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// nuisance is a file that can be neither published nor moved aside.
type nuisance struct {
	stamp
	until time.Time // when to try again
}

// nuisanceRest is how many rescans such a file is left alone for.
const nuisanceRest = 10

// putUpWith leaves a file where it is, and logs why unless that was said.
func (s *Spool) putUpWith(path string, st stamp, err error) {
	old, known := s.stuck[path]
	s.stuck[path] = nuisance{stamp: st, until: s.cfg.Now().Add(nuisanceRest * s.cfg.Rescan)}
	if !known || old.stamp != st {
		s.log.Error("a file in the spool can be neither published nor moved aside: change its owner or mode, or remove it", slog.String("path", s.relative(path)), slog.Any("err", err))
	}
}

// relative returns path as seen from the spool folder.
func (s *Spool) relative(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, s.cfg.Dir), "/")
}
