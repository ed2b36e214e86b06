package keyfile

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// State tells a file from one that has taken its place and from itself after a change, links
// followed: also where a link to it, or to a directory on the way to it, has another target.
// It is compared with ==.
type State struct {
	device, inode uint64
	size          int64
	changed       time.Time
	missing       bool
}

// StateOf returns the state of a file, which may be missing.
func StateOf(path string) State {
	info, err := os.Stat(path)
	if err != nil {
		return State{missing: true}
	}
	s := State{size: info.Size(), changed: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode = uint64(st.Dev), st.Ino //nolint:unconvert // its type differs between boards
		s.changed = time.Unix(st.Ctim.Unix())      // also when its owner or mode has changed
	}
	return s
}

// StatesOf returns the states of files by their names.
func StatesOf(paths ...string) map[string]State {
	states := make(map[string]State, len(paths))
	for _, path := range paths {
		states[path] = StateOf(path)
	}
	return states
}

// Linked reports whether a name leads through a symbolic link, or nowhere. Changes behind it
// are in a directory of another name.
func Linked(path string) bool {
	whole, err := filepath.Abs(path)
	if err != nil {
		return true
	}
	resolved, err := filepath.EvalSymlinks(whole)
	return err != nil || resolved != whole
}
