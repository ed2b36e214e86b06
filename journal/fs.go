package journal

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FS is the file system below a journal. Tests replace it to lose what was not
// synced, tear writes and fail on purpose.
type FS interface {
	MkdirAll(dir string) error
	List(dir string) ([]string, error) // names, in any order
	Create(name string) (File, error)  // new and empty; fails when it exists
	Open(name string) (File, error)    // for reading and writing
	Rename(from, to string) error      // replaces
	Link(from, to string) error        // a second name for the same file
	Remove(name string) error
	SyncDir(dir string) error // makes names durable
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Datasync() error // makes content and size durable: fdatasync(2)
}

// OS is the operating system's file system.
type OS struct{}

// MkdirAll makes a directory and its parents.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

// List returns the names of everything in dir.
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// Create makes a new file.
func (OS) Create(name string) (File, error) {
	return osFile(os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)) // #nosec G304 -- below the journal's directory
}

// Open opens a file for reading and writing. What is none it does not open.
func (OS) Open(name string) (File, error) {
	if err := regular(name); err != nil {
		return nil, err
	}
	return osFile(os.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)) // #nosec G304 -- below the journal's directory
}

// Rename renames a file.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Link gives a file a second name.
func (OS) Link(from, to string) error { return os.Link(from, to) }

// Remove removes a name.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir makes the names in dir durable.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type file struct{ *os.File }

func osFile(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	// Reading must not write to the card, not even when it was. Files of another
	// owner refuse that, which loses nothing else.
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err == nil {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETFL, flags|unix.O_NOATIME)
	}
	return file{f}, nil
}

func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// forget makes the kernel forget what it holds of the file, so that what is read
// is what the disk has: after a write that failed it may remember what it could
// not write, and take it for written.
func (f file) forget() {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // some file systems have no such memory
}

func (f file) Datasync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

var _ FS = OS{}
