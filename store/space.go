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
	checked time.Time // by the committer only
	full    atomic.Bool
}

// checkEvery is often enough: between two looks a node cannot write more than
// its own preallocated segments hold.
const checkEvery = time.Second

// look asks the file system again when the last answer is older than
// checkEvery. When the question itself fails the old answer stands: a write
// will tell.
func (s *space) look(now time.Time) {
	if s.reserve <= 0 || now.Sub(s.checked).Abs() < checkEvery {
		return
	}
	s.checked = now
	var st unix.Statfs_t
	if unix.Statfs(s.dir, &st) != nil {
		return
	}
	s.full.Store(int64(st.Bavail)*int64(st.Bsize) < s.reserve) //nolint:unconvert // its type differs between boards
}
