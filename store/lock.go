package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// LockedError says that another process has the data directory.
type LockedError struct{ Dir string }

// Error says what to do.
func (e *LockedError) Error() string {
	return "data directory " + e.Dir + " is in use by another picloud; stop that one, or give this one its own with --data"
}

// lockDir takes the lock of a data directory. It is released when the returned
// file is closed or the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if err := flock(f); err != nil {
		_ = f.Close() // nothing was written
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{Dir: dir}
		}
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	return f, nil
}

// lockPatience is how long a process may take to end that is on its way out, or
// a program to be started that the last owner was just starting.
const lockPatience = 500 * time.Millisecond

func flock(f *os.File) error {
	deadline := time.NewTimer(lockPatience)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-again.C:
		case <-deadline.C:
			return err
		}
	}
}
