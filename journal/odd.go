package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// oddError says that there is something else where a file should be. It was not opened.
type oddError struct{ what string }

func (e *oddError) Error() string { return "it is " + e.what + ", not a file" }

// regular returns an *oddError when a name is that of something that is no file. Opening
// it could block, or do something.
func regular(name string) error {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
		if _, lerr := os.Lstat(name); lerr == nil {
			return &oddError{what: "a link to nothing"}
		}
	}
	if err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return &oddError{what: "a directory"}
	case mode&fs.ModeNamedPipe != 0:
		return &oddError{what: "a pipe"}
	case mode&fs.ModeSocket != 0:
		return &oddError{what: "a socket"}
	}
	return &oddError{what: "a device"}
}

// moveAside takes out of the way what is no file of the journal and has the name of one.
func (j *Journal) moveAside(name, reason string, rec *Recovery) error {
	to, err := j.asideName(name)
	if err != nil {
		return err
	}
	d := Damage{File: name, SetAside: to, Reason: reason}
	if err := j.announce(d); err != nil {
		return err
	}
	if err := j.fs.Rename(j.path(name), to); err != nil {
		return err
	}
	if err := errors.Join(j.fs.SyncDir(filepath.Dir(to)), j.fs.SyncDir(j.cfg.Dir)); err != nil {
		return err
	}
	j.damage(d, rec)
	return nil
}

// removeOdd removes what was never part of the journal: by moving it aside when it
// cannot be removed.
func (j *Journal) removeOdd(name string) {
	if j.fs.Remove(j.path(name)) == nil {
		return
	}
	if to, err := j.asideName(name); err == nil {
		_ = j.fs.Rename(j.path(name), to) // it is only in the way of files that are made
	}
}

// MakeDamaged makes a directory for damaged files. What has its name and is none is
// renamed.
func MakeDamaged(fsys FS, dir string, now time.Time) error {
	err := fsys.MkdirAll(dir)
	if !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := fsys.Rename(dir, dir+".file."+asideTime(now)); err != nil {
		return err
	}
	return fsys.MkdirAll(dir)
}

func asideTime(now time.Time) string { return now.UTC().Format("20060102T150405.000000Z") }
