package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// state.db never becomes shorter: bbolt keeps the pages that are free for later. When
// there are many, the file system gets back what they take, so that deleting things on a
// full disk makes room. The file keeps its length, with holes in it, and nothing moves:
// it takes no space to do, and wears the card by next to nothing.

const (
	shrinkAbove = 16 << 20 // bytes of free pages from which on that is worth while
	shrinkRun   = 16       // adjacent pages that are a hole, at least
)

// shrinkState gives free pages of state.db back to the file system when they are many.
// The caller holds maintainMu, so nothing is written to the file.
func (s *Store) shrinkState() {
	if s.space.noHoles {
		return
	}
	freed, err := shrink(s.tables.db.DB)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		s.space.noHoles = true // the pages are used again, sooner or later
	case err != nil:
		s.log.Warn("free pages of state.db could not be given back", slog.Any("err", err))
	case freed > 0:
		s.log.Info("free pages of state.db were given back", slog.Int64("bytes", freed))
	}
}

// shrink makes holes of the free pages of a file. It does nothing when they are few, or
// when some are still read. It must not be written to meanwhile.
func shrink(db *bbolt.DB) (freed int64, err error) {
	excess, err := excessOf(db)
	if err != nil || excess < shrinkAbove {
		return 0, err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // see openState
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("look for free pages: %v", r)
		}
	}()
	// A transaction that begins takes for free what no reader needs any more; one that
	// ends counts what some reader does.
	if err := begin(db, func(*bbolt.Tx) error { return nil }); err != nil {
		return 0, err
	}
	if db.Stats().PendingPageN > 0 {
		return 0, nil // the next checkpoint tries again
	}
	f, err := os.OpenFile(db.Path(), os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // nothing was written through it
	err = begin(db, func(tx *bbolt.Tx) error {
		first := 0 // of a run of free pages; 0: none
		for id := 2; ; id++ {
			page, err := tx.Page(id)
			if err != nil {
				return err
			}
			if page != nil && page.Type == "free" {
				if first == 0 {
					first = id
				}
				continue
			}
			if n := int64(id - first); first > 0 && n >= shrinkRun {
				if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(first)*block, n*block); err != nil {
					return fmt.Errorf("make a hole: %w", err)
				}
				freed += n * block
			}
			if first = 0; page == nil {
				return nil
			}
		}
	})
	return freed, err
}

// excessOf returns how much more a file takes on the disk than its pages in use.
func excessOf(db *bbolt.DB) (int64, error) {
	var st unix.Stat_t
	if err := unix.Stat(db.Path(), &st); err != nil {
		return 0, fmt.Errorf("stat state.db: %w", err)
	}
	used := usedBytes(db)
	excess := st.Blocks*512 - used
	if excess < used/4 {
		return 0, nil
	}
	return excess, nil
}

// usedBytes returns how much of a file its pages take that are in use. Those that only
// an old reader needs do not count.
func usedBytes(db *bbolt.DB) (used int64) {
	_ = db.View(func(tx *bbolt.Tx) error { // fails only when closed
		used = tx.Size()
		return nil
	})
	st := db.Stats()
	return used - int64(st.FreePageN+st.PendingPageN)*block
}

// begin calls fn with a transaction that could write, and leaves all as it was.
func begin(db *bbolt.DB, fn func(tx *bbolt.Tx) error) error {
	tx, err := db.Begin(true)
	if err != nil {
		return fmt.Errorf("look for free pages: %w", err)
	}
	return errors.Join(fn(tx), tx.Rollback())
}
