package store

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// space watches the free space below the data directory, so that the node stops
// taking work while there is still room for everybody else on the board.
type space struct {
	dir     string
	reserve int64
	checked time.Time   // by the committer only
	full    atomic.Bool // the reserve is reached
	backlog atomic.Bool // the journal is over its budget, and its readers have not done all in it
	state   atomic.Bool // state.db holds about as much as it can
	noHoles bool        // the file system takes no pages of state.db back; guarded by maintainMu
}

// checkEvery is often enough: between two looks a node cannot write more than
// its own preallocated segments hold.
const checkEvery = time.Second

// look looks at both limits again when it last did so longer ago than
// checkEvery.
func (s *Store) look() {
	now := s.cfg.Now()
	if now.Sub(s.space.checked).Abs() < checkEvery {
		return
	}
	s.space.checked = now
	s.space.look()
	s.lookAtBudget()
}

// look asks the file system. When the question itself fails the old answer
// stands: a write will tell.
func (s *space) look() {
	if free, known := s.free(); known {
		s.full.Store(free < s.reserve)
	}
}

// free returns how much is free, unless there is no reserve or it is unknown.
func (s *space) free() (bytes int64, known bool) {
	if s.reserve <= 0 {
		return 0, false
	}
	return freeBytes(s.dir)
}

// freeBytes returns how much is free on the file system of a directory, if it says so.
func freeBytes(dir string) (bytes int64, known bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true //nolint:unconvert // its type differs between boards
}

// lookAtState looks at how much of what state.db can hold it holds.
func (s *Store) lookAtState() { s.space.state.Store(usedBytes(s.tables.db.DB) > maxStateBytes/4*3) }
