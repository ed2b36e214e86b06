package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A node that is restored is made in a directory within the data directory. When all of
// it is there, durably, a mark says so, and it is put in place file by file. Cut off
// before the mark it is not there, and after it the next start puts the rest in
// place: it is there whole, or not at all.

const (
	// restoring is where a node is made before it is put in place.
	restoring = ".restoring"
	// restoredMark lies in it when the node is whole.
	restoredMark = "whole"
)

// UnfinishedError says that a restore of a data directory was cut off.
type UnfinishedError struct{ Dir string }

// Error says what to do.
func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("a restore into %s was cut off: run 'picloud restore' again, or remove %s to begin with an empty node", e.Dir, filepath.Join(e.Dir, restoring))
}

// inPlace lets fn make a node in a directory of its own, and then puts that in
// place of dir, which must be empty or missing.
func inPlace(dir string, fn func(tmp string) error) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // nothing was written through it
	if err := settleRestore(dir); err != nil && !isUnfinished(err) {
		return err
	}
	if err := checkEmpty(dir); err != nil {
		return err
	}
	tmp := filepath.Join(dir, restoring)
	if err := os.RemoveAll(tmp); err != nil { // of a restore that was cut off
		return err
	}
	whole := false
	defer func() {
		if !whole {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := fn(tmp); err != nil {
		return err
	}
	if err := writeFileSync(filepath.Join(tmp, restoredMark), nil); err != nil {
		return err
	}
	whole = true
	return settleRestore(dir)
}

// settleRestore finishes a restore that was cut off when all was there, or returns an
// *UnfinishedError when it was not. Without a restore it does nothing. The caller has
// the lock of the directory.
func settleRestore(dir string) error {
	tmp := filepath.Join(dir, restoring)
	if there, err := exists(tmp); err != nil || !there {
		return err
	}
	whole, err := exists(filepath.Join(tmp, restoredMark))
	if err != nil {
		return err
	}
	done, err := exists(filepath.Join(dir, identityFile))
	if err != nil {
		return err
	}
	switch {
	case done: // only the directory is left
	case !whole:
		return &UnfinishedError{Dir: dir}
	default:
		if _, err := checkIdentity(tmp); err != nil { // a newer picloud's
			return err
		}
		if err := putInPlace(tmp, dir); err != nil {
			return fmt.Errorf("finish a restore that was cut off: %w", err)
		}
	}
	_ = os.RemoveAll(tmp) // the node is whole without; the next start tries again
	return nil
}

// putInPlace moves what is still to be moved. node.json comes last: a directory without
// it is not a node yet.
func putInPlace(tmp, dir string) error {
	for _, name := range []string{damagedDir, "journal", blobsDir, stateFile, identityCopy, identityFile} {
		err := os.Rename(filepath.Join(tmp, name), filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was moved before, or there were no files
		}
		if err != nil {
			return err
		}
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func isUnfinished(err error) bool {
	_, ok := errors.AsType[*UnfinishedError](err)
	return ok
}

// checkEmpty accepts a lock file and what a restore that was cut off left.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case "lock", restoring, "lost+found":
		default:
			return fmt.Errorf("%w: there is %s in %s", ErrNotEmpty, e.Name(), dir)
		}
	}
	return nil
}
