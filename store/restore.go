package store

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/picloud/picloud"
)

// ErrNotEmpty says that a restore was asked for where there is a node already.
var ErrNotEmpty = errors.New("the data directory is not empty; restore into a new one, or move the old one away")

// ErrBackupDamaged says that an archive cannot be trusted. Nothing was restored.
var ErrBackupDamaged = errors.New("the backup is damaged or incomplete")

// Restore unpacks an archive that Backup wrote into an empty or missing
// directory. The node keeps its identity, apps, keys and history, but begins a
// new epoch: what was published after the backup is not there, and readers with
// a position from then must learn it.
//
// The archive is checked whole before any of it is put in place; after an error
// the directory is as it was.
func Restore(dir string, r io.Reader) (picloud.Node, error) {
	n, err := restore(dir, r)
	if err != nil {
		return picloud.Node{}, fmt.Errorf("restore: %w", err)
	}
	return n, nil
}

// restoring is where an archive is unpacked before it is put in place.
const restoring = ".restoring"

func restore(dir string, r io.Reader) (node picloud.Node, err error) {
	err = inPlace(dir, func(tmp string) error {
		if err := unpack(tmp, r); err != nil {
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

// inPlace lets fn make a node in a directory of its own, and then puts that in
// place of dir, which must be empty or missing.
func inPlace(dir string, fn func(tmp string) error) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // nothing was written through it
	if err := checkEmpty(dir); err != nil {
		return err
	}
	tmp := filepath.Join(dir, restoring)
	if err := os.RemoveAll(tmp); err != nil { // of a restore that was cut off
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := fn(tmp); err != nil {
		return err
	}
	// node.json comes last: a directory without it is not a node yet.
	for _, name := range []string{"journal", blobsDir, stateFile, identityFile} {
		err := os.Rename(filepath.Join(tmp, name), filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) && name == blobsDir {
			continue // there were no files
		}
		if err != nil {
			return err
		}
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// checkEmpty accepts a lock file and what a restore that was cut off left.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case "lock", restoring, "lost+found":
		default:
			return fmt.Errorf("%w: there is %s in %s", ErrNotEmpty, e.Name(), dir)
		}
	}
	return nil
}

// archived are the names an archive may hold. Anything else, and above all a
// path that leads elsewhere, is refused.
var archived = regexp.MustCompile(`^(node\.json|state\.db|manifest\.json|journal/[0-9A-Za-z][0-9A-Za-z._-]*|files/[a-z2-7]{26})$`)

func unpack(dir string, r io.Reader) error {
	for _, sub := range []string{"journal", blobsDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	err := eachFile(r, func(name string, content io.Reader) (string, error) {
		return unpackFile(filepath.Join(dir, filepath.FromSlash(name)), content)
	})
	if err != nil {
		return err
	}
	return errors.Join(syncDir(filepath.Join(dir, "journal")), syncDir(filepath.Join(dir, blobsDir)), syncDir(dir))
}

// VerifyBackup reads an archive and returns nil when it is whole.
func VerifyBackup(r io.Reader) error {
	return eachFile(r, func(_ string, content io.Reader) (string, error) {
		h := sha256.New()
		if _, err := io.Copy(h, content); err != nil {
			return "", fmt.Errorf("%w: %w", ErrBackupDamaged, err)
		}
		return sumText(h), nil
	})
}

// eachFile calls fn with every file of an archive, which returns its sum, and
// holds the sums against the manifest.
func eachFile(r io.Reader, fn func(name string, content io.Reader) (sum string, err error)) error {
	zr, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackupDamaged, err)
	}
	sums := map[string]string{}
	var m *manifest
	tr := tar.NewReader(zr)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBackupDamaged, err)
		}
		if h.Typeflag != tar.TypeReg || !archived.MatchString(h.Name) || sums[h.Name] != "" || m != nil {
			return fmt.Errorf("%w: %q does not belong there", ErrBackupDamaged, h.Name)
		}
		if h.Name == manifestFile {
			m = new(manifest)
			if err := json.NewDecoder(io.LimitReader(tr, 1<<20)).Decode(m); err != nil {
				return fmt.Errorf("%w: %w", ErrBackupDamaged, err)
			}
			continue
		}
		content := io.Reader(tr)
		if h.Name == identityFile { // the first: a newer backup is refused before anything is unpacked
			b, err := io.ReadAll(io.LimitReader(tr, 1<<20))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrBackupDamaged, err)
			}
			if err := newer(identityFile, parseFormat(bytes.NewReader(b))); err != nil {
				return err
			}
			content = bytes.NewReader(b)
		}
		if sums[h.Name], err = fn(h.Name, content); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, zr); err != nil { // #nosec G110 -- checks the sum of the whole; nothing is kept
		return fmt.Errorf("%w: %w", ErrBackupDamaged, err)
	}
	return m.check(sums)
}

func unpackFile(path string, r io.Reader) (sum string, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- the name was checked
	if err != nil {
		return "", err
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
		return "", fmt.Errorf("%w: %w", ErrBackupDamaged, rd.err)
	}
	return sumText(h), err
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

func (m *manifest) check(sums map[string]string) error {
	if m == nil {
		return fmt.Errorf("%w: it ends before its manifest", ErrBackupDamaged)
	}
	if err := newer(manifestFile, m.Format); err != nil {
		return err
	}
	if len(m.SHA256) != len(sums) || sums[identityFile] == "" || sums[stateFile] == "" {
		return fmt.Errorf("%w: files are missing", ErrBackupDamaged)
	}
	for name, want := range m.SHA256 {
		if sums[name] != want {
			return fmt.Errorf("%w: the checksum of %s does not match", ErrBackupDamaged, name)
		}
	}
	return nil
}
