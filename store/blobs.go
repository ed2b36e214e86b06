package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/picloud/picloud"
)

// blobs are the contents of files: each is a file of its own below files/, under a
// name that no other ever has, so that no reader ever sees one change. It is written
// as <name>.tmp.*, fsynced and renamed, and the directory fsynced, before a row of
// tableFile names it. One that no row names is garbage.
//
// Rows may come from elsewhere, such as a backup or Postgres. Whatever one calls its
// content, only regular files of the directory are ever opened or removed: see folder.
type blobs struct {
	dir string

	mu      sync.Mutex // guards what follows
	pending map[string]bool
	readers int      // backups, during which nothing goes
	doomed  []string // goes when they are done
}

const blobsDir = "files"

// blobName is what the name of a blob looks like.
var blobName = regexp.MustCompile(`^[a-z2-7]{26}$`)

// blob is one that is being written.
type blob struct {
	name string
	size int64
	sum  string
}

// write keeps what it reads, and returns with the blob durable. It is pending until
// finish is called, whether that fails or not.
func (b *blobs) write(r io.Reader) (blob, error) {
	name := strings.ToLower(rand.Text())
	b.mu.Lock()
	b.pending[name] = true
	b.mu.Unlock()
	return b.put(name, r, func(blob) bool { return true })
}

// errOtherContent says that a content is not the one that was written.
var errOtherContent = errors.New("it is another content")

// replace writes a blob anew that was damaged, if right says that it is the one that was
// written, and else returns errOtherContent.
func (b *blobs) replace(name string, r io.Reader, right func(w blob) bool) error {
	_, err := b.put(name, r, right)
	return err
}

func (b *blobs) put(name string, r io.Reader, right func(w blob) bool) (w blob, err error) {
	w.name = name
	if err := b.prepare(); err != nil {
		return w, err
	}
	root, err := b.folder(name)
	if err != nil {
		return w, err
	}
	defer func() { _ = root.Close() }() // nothing was written through it
	temp := name + ".tmp." + strings.ToLower(rand.Text())
	f, err := root.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return w, err
	}
	h := sha256.New()
	w.size, err = io.Copy(io.MultiWriter(f, h), r)
	w.sum = sumText(h)
	if err == nil && !right(w) {
		err = errOtherContent
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err == nil {
		err = syncDir(b.dir)
	}
	if err != nil {
		_ = root.Remove(temp) // the first error is the one to tell
	}
	return w, err
}

// prepare makes the directory, if there is none.
func (b *blobs) prepare() error {
	err := os.Mkdir(b.dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(b.dir))
}

// folder opens the directory for one blob, and is the only way to it. A name that no
// blob can have is fs.ErrNotExist; what is opened through the folder lies in it.
func (b *blobs) folder(name string) (*os.Root, error) {
	if !blobName.MatchString(name) {
		return nil, fs.ErrNotExist
	}
	return os.OpenRoot(b.dir)
}

// open opens a blob. A link, a pipe or a device in its place is fs.ErrNotExist.
func (b *blobs) open(name string) (*os.File, error) {
	root, err := b.folder(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // only read
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	return root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // does not wait, whatever has come between
}

// finish ends the writing of a blob. One that is not kept goes.
func (b *blobs) finish(name string, kept bool) {
	if !kept {
		b.remove(name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pending, name)
}

// remove removes blobs that no row names any more. What fails here, the next look
// for garbage does.
func (b *blobs) remove(names ...string) {
	b.mu.Lock()
	if b.readers > 0 {
		b.doomed = append(b.doomed, names...)
		names = nil
	}
	b.mu.Unlock()
	for _, name := range names {
		if root, err := b.folder(name); err == nil {
			_ = root.Remove(name)
			_ = root.Close() // nothing was written through it
		}
	}
}

// hold keeps all blobs there are until release is called.
func (b *blobs) hold() (release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readers++
	return func() {
		b.mu.Lock()
		var doomed []string
		if b.readers--; b.readers == 0 {
			doomed, b.doomed = b.doomed, nil
		}
		b.mu.Unlock()
		b.remove(doomed...)
	}
}

// list returns the names of the blobs there are: finished ones, or all, of which some
// may have no row yet, or never get one.
func (b *blobs) list(all bool) ([]string, error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for _, e := range entries {
		if name := e.Name(); blobName.MatchString(name) && e.Type().IsRegular() && (all || !b.pending[name]) {
			names = append(names, name)
		}
	}
	return names, nil
}

// FilesDir is where the contents of files are, beside those that are being written.
func (s *Store) FilesDir() string { return s.blobs.dir }

// CollectFiles removes contents of files that no file has any more, as a crash
// between writing and naming one leaves them, and returns how many. Where rows may
// have been lost it removes nothing.
func (s *Store) CollectFiles(ctx context.Context) (removed int, err error) {
	if s.readOnly || s.ident.KeepFiles {
		return 0, nil
	}
	names, err := s.blobs.list(false) // before the rows: a blob that is finished later is not in it
	if err != nil || len(names) == 0 {
		return 0, err
	}
	// What is committed now was named before it was listed, or is gone.
	if err := s.do(ctx, "", func(*tx) error { return nil }); err != nil {
		return 0, err
	}
	named := map[string]bool{}
	s.tables.scan(tableFile, "", "", func(_ string, v []byte) bool {
		var f picloud.File
		if err = cborDecode(v, &f); err != nil {
			return false
		}
		named[f.Blob] = true
		return ctx.Err() == nil
	})
	if err != nil || ctx.Err() != nil {
		return 0, errors.Join(err, ctx.Err())
	}
	for _, name := range names {
		if !named[name] {
			s.blobs.remove(name)
			removed++
		}
	}
	return removed, nil
}
