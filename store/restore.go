package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/picloud/picloud"
)

// ErrNotEmpty says that a restore was asked for where there is a node already.
var ErrNotEmpty = errors.New("the data directory is not empty; restore into a new one, or move the old one away")

// ErrBackupDamaged says that an archive cannot be trusted. Nothing was restored.
var ErrBackupDamaged = errors.New("the backup is damaged or incomplete")

// ErrNoRoom says that what an archive holds does not fit on the disk. Nothing was
// restored.
var ErrNoRoom = errors.New("there is no room for what the backup holds")

// Archived is what a node is restored from.
type Archived struct {
	From io.Reader // a backup
	// Damaged is told of each thing that was damaged on the node when the backup was made;
	// nil: no report.
	Damaged func(what string)
}

// Restore unpacks an archive that Backup wrote into an empty or missing
// directory. The node keeps its identity, apps, keys and history, but begins a
// new epoch: what was published after the backup is not there, and readers with
// a position from then must learn it.
//
// The archive is checked whole before any of it is put in place; after an error
// the directory is as it was, and so it is for the next try after a crash. Every record
// of the journal is read, every content is held against its row, and rows and events
// pass the checks that a request of a client passes. What the backup says of itself that
// it was damaged on the node is not there, and told.
func Restore(cfg Config, from Archived) (picloud.Node, error) {
	n, err := restore(cfg, from)
	if err != nil {
		return picloud.Node{}, fmt.Errorf("restore: %w", err)
	}
	return n, nil
}

func restore(cfg Config, from Archived) (node picloud.Node, err error) {
	err = inPlace(cfg.Dir, func(tmp string) error {
		about, err := unpack(tmp, from.From)
		if err != nil {
			return err
		}
		if err := checkJournalOf(tmp, about); err != nil {
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
		id.renewEpoch() // before the node is opened: it ends with the last record of the archive
		if err := id.write(tmp); err != nil {
			return err
		}
		cfg.Dir = tmp
		if node, err = openRestored(cfg, about); err != nil {
			return err
		}
		for _, what := range about.damages() {
			if from.Damaged != nil {
				from.Damaged(what)
			}
		}
		return nil
	})
	return node, err
}

// openRestored opens a node that was unpacked as it will be opened by its first start,
// and checks all it holds.
func openRestored(cfg Config, about *summary) (picloud.Node, error) {
	s, err := Open(cfg)
	if err != nil {
		return picloud.Node{}, err
	}
	err = s.checkRestored(about)
	if err = errors.Join(err, s.Close()); err != nil {
		return picloud.Node{}, err
	}
	return s.Node(), os.Remove(s.path("lock"))
}

func unpack(dir string, r io.Reader) (*summary, error) {
	for _, sub := range []string{"journal", blobsDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // nothing was written through it
	contents := map[string]content{}
	about, err := eachFile(r, func(name string, size int64, in io.Reader) (sum, error) {
		if free, known := freeBytes(dir); known && size > free-unpackReserve {
			return sum{}, fmt.Errorf("%w: %s has %d bytes, and %d are free", ErrNoRoom, name, size, free)
		}
		s, err := unpackFile(root, name, in)
		if strings.HasPrefix(name, blobsDir+"/") {
			contents[name] = content{size: size, sum: s}
		}
		return s, err
	})
	if err != nil {
		return nil, err
	}
	about.contents = contents
	return about, errors.Join(syncDir(filepath.Join(dir, "journal")), syncDir(filepath.Join(dir, blobsDir)), syncDir(dir))
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
