package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/journal"
)

// takeDir makes the data directory when it is missing and takes its lock. Where
// there is a node that cannot be written to, the store opens for reading: it
// serves what there is, refuses what would change it, and says so.
func (s *Store) takeDir() error {
	err := os.MkdirAll(s.cfg.Dir, 0o700)
	if err == nil {
		_, missing := os.Lstat(s.path("lock"))
		s.lock, err = lockDir(s.cfg.Dir)
		s.lockMade = errors.Is(missing, fs.ErrNotExist)
	}
	if err == nil {
		return nil
	}
	if !errors.Is(err, syscall.EROFS) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if _, _, ierr := readIdentities(s.cfg.Dir); errors.Is(ierr, fs.ErrNotExist) {
		return fmt.Errorf("%w: the data directory %s must be writable for the user that runs picloud", err, s.cfg.Dir)
	}
	if s.lock, err = lockReadOnly(s.path("lock")); err != nil {
		return err
	}
	s.readOnly = true
	if s.cfg.JournalFS == nil {
		s.cfg.JournalFS = journal.NewOverlay()
	}
	s.health.note("The data directory " + s.cfg.Dir + " cannot be written: reading works, publishing and changing are refused. Remount it for writing or give it to the user that runs picloud.")
	return nil
}

// lockReadOnly takes the lock of a directory that cannot be written. Without a
// lock file it cannot be held.
func lockReadOnly(path string) (*os.File, error) {
	f, err := os.Open(path) // #nosec G304 -- below the data directory
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // no lock, and none to be had
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data directory: %w", err), f.Close())
	}
	return f, nil
}
