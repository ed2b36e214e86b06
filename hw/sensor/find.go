package sensor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of the search for the file of a sensor. A path that a Raspberry Pi needs has one
// or two parts with wildcards, and comes past some hundred names at most.
const (
	maxWild     = 4 // parts of a path
	maxNames    = 4096
	findTimeout = 2 * time.Second // less than readingTimeout
)

// wild are the characters of a pattern that stand for others.
const wild = `*?[\`

// checkPath returns why a path cannot be that of a sensor's file, or nil.
func checkPath(path string) error {
	parts := 0
	for part := range strings.SplitSeq(path, "/") {
		if _, err := filepath.Match(part, ""); err != nil {
			return fmt.Errorf("%q: the pattern is not closed", path)
		}
		if strings.ContainsAny(part, wild) {
			parts++
		}
	}
	if parts > maxWild {
		return fmt.Errorf("%q has wildcards in %d of its parts: name all but %d", path, parts, maxWild)
	}
	return nil
}

// fileSearch looks for the files that a path with wildcards matches.
type fileSearch struct {
	ctx   context.Context //nolint:containedctx // a search is one call
	path  string          // for people
	names int             // come past
	files []string        // found
	err   error           // the first for another reason than that a file is not there
}

// find returns the files below a root that the path matches, sorted. It follows symbolic
// links, as the names in /sys/class are. It returns what has kept it from a part of the
// files only where it has found none, and a fault when it comes past maxNames or ctx ends.
func find(ctx context.Context, root, path string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	s := fileSearch{ctx: ctx, path: path}
	if err := s.below(root, strings.Split(strings.Trim(path, "/"), "/")); err != nil {
		return nil, err
	}
	if len(s.files) == 0 {
		return nil, s.err
	}
	return s.files, nil
}

// below searches a folder for the parts of a path. An error ends the search.
func (s *fileSearch) below(folder string, parts []string) error {
	if len(parts) == 0 {
		s.files = append(s.files, folder)
		return nil
	}
	if !strings.ContainsAny(parts[0], wild) {
		if err := s.pass(); err != nil {
			return err
		}
		next := filepath.Join(folder, parts[0])
		if _, err := os.Lstat(next); err != nil {
			s.note(err)
			return nil
		}
		return s.below(next, parts[1:])
	}
	names, err := s.list(folder)
	if err != nil {
		return err
	}
	for _, name := range names {
		if ok, _ := filepath.Match(parts[0], name); ok { // checkPath has checked the pattern
			if err := s.below(filepath.Join(folder, name), parts[1:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// list returns the names in a folder, sorted; none, if it is no folder. Devices and pipes
// are not opened.
func (s *fileSearch) list(folder string) ([]string, error) {
	f, err := os.OpenFile(folder, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0) // #nosec G304 -- the operator names it
	if err != nil {
		s.note(err)
		return nil, nil
	}
	defer func() { _ = f.Close() }() // only read
	var all []string
	for {
		names, err := f.Readdirnames(256)
		for range names {
			if err := s.pass(); err != nil {
				return nil, err
			}
		}
		all = append(all, names...)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.note(err)
			}
			slices.Sort(all)
			return all, nil
		}
	}
}

// pass counts a name, and returns why the search is over.
func (s *fileSearch) pass() error {
	if s.names++; s.names > maxNames {
		return faultf("%s leads past more than %d names: write fewer wildcards", s.path, maxNames)
	}
	if s.ctx.Err() != nil {
		return faultf("the files that %s fits were not found within %v: write fewer wildcards", s.path, findTimeout)
	}
	return nil
}

// note keeps the first error but that a file is not there.
func (s *fileSearch) note(err error) {
	if s.err == nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		s.err = err
	}
}
