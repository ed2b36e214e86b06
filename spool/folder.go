package spool

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

// errNotFolder is the fault of a path on which something else has taken the place of a
// folder.
var errNotFolder = errors.New("a folder on the way is a link, or no folder any more: put a folder in its place")

// folder opens a folder of the spool by its path, step by step, and no step follows a
// link: files that are dropped for one app must not come from the folder of another, or
// be moved there, even when links are put in place of folders meanwhile. The caller
// closes it.
func (s *Spool) folder(path string) (*os.Root, error) {
	at, err := os.OpenRoot(s.cfg.Dir)
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(s.relative(path), "/") {
		if name == "" {
			continue // the spool folder itself
		}
		next, err := enter(at, name)
		_ = at.Close() // only passed through
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// enter opens a folder in another, unless it is a link.
func enter(in *os.Root, name string) (*os.Root, error) {
	seen, err := in.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !seen.IsDir() {
		return nil, errNotFolder
	}
	at, err := in.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if opened, err := at.Stat("."); err != nil || !os.SameFile(seen, opened) {
		_ = at.Close() // only looked at
		return nil, errors.Join(errNotFolder, err)
	}
	return at, nil
}

// below opens the folder sub of a folder, and makes it if there is none. Both are to be
// closed by the caller.
func (s *Spool) below(dir, sub string) (at, in *os.Root, err error) {
	if at, err = s.folder(dir); err != nil {
		return nil, nil, err
	}
	if err = at.Mkdir(sub, 0o770); err == nil || errors.Is(err, fs.ErrExist) {
		in, err = enter(at, sub)
	}
	if err != nil {
		_ = at.Close() // only looked at
		return nil, nil, err
	}
	return at, in, nil
}
