package store

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// maxStateBytes bounds a file of bbolt by what a 32-bit board can map.
const maxStateBytes = math.MaxInt32/2 + 1

// boltWait is how long a file may be held by another program, which can only be a tool:
// say so instead of hanging.
const boltWait = time.Second

// openBolt opens a file of bbolt after check has read it, under the lock that bbolt
// takes. A missing or empty file is made, and not checked. An error of check ends it, and
// bbolt has not seen the file then.
func openBolt(path string, readOnly bool, check func(f *pageFile) error) (db *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { // a page that the disk gives once and not again
		if r := recover(); r != nil {
			db, err = nil, illegible(r)
		}
	}()
	opt := *bbolt.DefaultOptions
	opt.PageSize = block // a Pi 5 has pages of 16 kB; files must move between boards
	opt.FreelistType = bbolt.FreelistMapType
	opt.NoFreelistSync = false // else opening reads the whole file
	opt.MaxSize = maxStateBytes
	opt.Timeout = boltWait
	opt.PreLoadFreelist = !readOnly
	opt.ReadOnly = readOnly
	checked := false
	opt.OpenFile = func(name string, flag int, perm os.FileMode) (*os.File, error) {
		f, err := openQuiet(name, flag, perm)
		if err != nil || checked { // bbolt opens the file again to copy it
			return f, err
		}
		checked = true
		if err := checkBolt(f, readOnly, check); err != nil {
			_ = f.Close() // nothing was written
			return nil, err
		}
		return f, nil
	}
	return bbolt.Open(path, 0o600, &opt)
}

// checkBolt locks a file that bbolt is about to open, and lets check read it.
func checkBolt(f *os.File, readOnly bool, check func(f *pageFile) error) error {
	how := unix.LOCK_EX
	if readOnly {
		how = unix.LOCK_SH
	}
	if err := lockBolt(f, how); err != nil {
		return err
	}
	return readPages(f, check)
}

// lockBolt takes the lock that bbolt takes; closing the file gives it back.
func lockBolt(f *os.File, how int) error {
	for began := time.Now(); ; time.Sleep(boltWait / 20) { //nolint:forbidigo // nothing tells when a lock of another program is free
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if time.Since(began) > boltWait {
			return bolterrors.ErrTimeout
		}
	}
}

// readPages calls check with the pages of a file, unless it is empty.
func readPages(f *os.File, check func(f *pageFile) error) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is no ordinary file")
	}
	if info.Size() == 0 {
		return nil
	}
	pages, err := openPages(f, info.Size())
	if err != nil {
		return err
	}
	return check(pages)
}

// peekBolt calls check with the pages of a file and changes nothing. One that is missing
// or empty has nothing to be read.
func peekBolt(path string, check func(f *pageFile) error) error {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil // opening it meets that again
	}
	f, err := openQuiet(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	return readPages(f, check)
}

// openQuiet opens a file so that reading it does not write to the card when it
// was read, where the owner allows that; and so that what is read is what the
// disk has, rather than what the kernel could not write.
func openQuiet(name string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag|unix.O_NOATIME|unix.O_NONBLOCK, perm) // #nosec G304 -- below the data directory
	if errors.Is(err, os.ErrPermission) {
		f, err = os.OpenFile(name, flag|unix.O_NONBLOCK, perm) // #nosec G304 -- as above
	}
	if err == nil {
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // some file systems have no such memory
	}
	return f, err
}

// readAll brings a file into the kernel's memory from its beginning to its end. Its tree
// is read a page at a time, here and there, which takes many times as long. What cannot
// be read is met again when it is needed.
func readAll(r io.ReaderAt, bytes int64) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.NewSectionReader(r, 0, bytes), make([]byte, 256<<10))
}

// strictly is the fault of a pageWalk that the first fault ends.
func strictly(err error) error { return err }

// checkPages reads all pages of a file.
func checkPages(f *pageFile) error {
	w := pageWalk{f: f, fault: strictly, row: func(string, []byte, []byte) error { return nil }}
	return w.walk()
}

// inBolt names the file in an error.
func inBolt(file string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("open %s: %w", file, err)
}
