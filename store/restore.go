package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/picloud/picloud"
)

// ErrNotEmpty says that a restore was asked for where there is a node already.
var ErrNotEmpty = errors.New("the data directory is not empty; restore into a new one, or move the old one away")

// ErrBackupDamaged says that an archive cannot be trusted. Nothing was restored.
var ErrBackupDamaged = errors.New("the backup is damaged or incomplete")

// ErrNoRoom says that what an archive holds does not fit on the disk. Nothing was
// restored.
var ErrNoRoom = errors.New("there is no room for what the backup holds")

// Restore unpacks an archive that Backup wrote into an empty or missing
// directory. The node keeps its identity, apps, keys and history, but begins a
// new epoch: what was published after the backup is not there, and readers with
// a position from then must learn it.
//
// The archive is checked whole before any of it is put in place; after an error
// the directory is as it was, and so it is for the next try after a crash. Its rows and
// events pass the checks that a request of a client passes.
func Restore(dir string, r io.Reader) (picloud.Node, error) {
	n, err := restore(dir, r)
	if err != nil {
		return picloud.Node{}, fmt.Errorf("restore: %w", err)
	}
	return n, nil
}

func restore(dir string, r io.Reader) (node picloud.Node, err error) {
	err = inPlace(dir, func(tmp string) error {
		if err := unpack(tmp, r); err != nil {
			return err
		}
		if err := checkContents(tmp); err != nil {
			return err
		}
		id, err := readIdentity(tmp)
		if isNewer(err) {
			return err
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBackupDamaged, err)
		}
		id.Incarnation++
		id.renewEpoch()
		node = id.node("")
		return id.write(tmp)
	})
	return node, err
}

func unpack(dir string, r io.Reader) error {
	for _, sub := range []string{"journal", blobsDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // nothing was written through it
	err = eachFile(r, func(name string, size int64, content io.Reader) (sum, error) {
		if free, known := freeBytes(dir); known && size > free-unpackReserve {
			return sum{}, fmt.Errorf("%w: %s has %d bytes, and %d are free", ErrNoRoom, name, size, free)
		}
		return unpackFile(root, name, content)
	})
	if err != nil {
		return err
	}
	return errors.Join(syncDir(filepath.Join(dir, "journal")), syncDir(filepath.Join(dir, blobsDir)), syncDir(dir))
}

// unpackReserve is how many bytes unpacking leaves free to others.
const unpackReserve = 16 << 20

func unpackFile(root *os.Root, name string, r io.Reader) (s sum, err error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return s, err
	}
	h := sha256.New()
	rd := &errReader{r: r}
	_, err = io.Copy(io.MultiWriter(f, h), rd)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if rd.err != nil {
		return s, fmt.Errorf("%w: %w", ErrBackupDamaged, rd.err)
	}
	return sum(h.Sum(nil)), err
}

// errReader remembers that it was the reading that failed: then the archive is
// to blame, not the disk.
type errReader struct {
	r   io.Reader
	err error
}

func (e *errReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		e.err = err
	}
	return n, err
}
