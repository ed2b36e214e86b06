package journal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Overlay is a file system that reads from the operating system's and keeps
// every change in memory. With it a journal on a disk that cannot be written is
// recovered and read like any other; what recovery would have written is gone
// at the end.
type Overlay struct {
	mu    sync.Mutex
	files map[string]*overlayFile // changed or opened; nil: removed
}

// NewOverlay returns an Overlay without changes.
func NewOverlay() *Overlay { return &Overlay{files: map[string]*overlayFile{}} }

// MkdirAll does nothing: directories appear with their files.
func (*Overlay) MkdirAll(string) error { return nil }

// SyncDir does nothing.
func (*Overlay) SyncDir(string) error { return nil }

// List returns the names of the files in dir.
func (o *Overlay) List(dir string) ([]string, error) {
	names, err := OS{}.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for path, f := range o.files {
		if filepath.Dir(path) != strings.TrimSuffix(dir, "/") {
			continue
		}
		name := filepath.Base(path)
		i := slices.Index(names, name)
		switch {
		case f == nil && i >= 0:
			names = slices.Delete(names, i, i+1)
		case f != nil && i < 0:
			names = append(names, name)
		}
	}
	return names, nil
}

// Create makes a new file in memory.
func (o *Overlay) Create(name string) (File, error) {
	if f, err := o.Open(name); err == nil {
		return nil, errors.Join(fs.ErrExist, f.Close())
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	f := &overlayFile{pages: map[int64]*[overlayPage]byte{}}
	o.files[name] = f
	return f, nil
}

// Open opens a file of either.
func (o *Overlay) Open(name string) (File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f, known := o.files[name]; known {
		if f == nil {
			return nil, fs.ErrNotExist
		}
		return f, nil
	}
	if err := regular(name); err != nil {
		return nil, err
	}
	below, err := os.Open(name) // #nosec G304 -- below the journal's directory
	if err != nil {
		return nil, err
	}
	info, err := below.Stat()
	if err != nil {
		return nil, errors.Join(err, below.Close())
	}
	f := &overlayFile{below: below, size: info.Size(), pages: map[int64]*[overlayPage]byte{}}
	o.files[name] = f
	return f, nil
}

// Rename renames a file.
func (o *Overlay) Rename(from, to string) error {
	if err := o.Link(from, to); err != nil {
		return err
	}
	return o.Remove(from)
}

// Link gives a file a second name.
func (o *Overlay) Link(from, to string) error {
	f, err := o.Open(from)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files[to] = f.(*overlayFile) //nolint:forcetypeassert // Open returns nothing else
	return nil
}

// Remove removes a name.
func (o *Overlay) Remove(name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files[name] = nil
	return nil
}

const overlayPage = 4096

// overlayFile is a file whose changed pages are in memory.
type overlayFile struct {
	mu    sync.Mutex
	below *os.File // nil: all is in memory
	size  int64
	pages map[int64]*[overlayPage]byte
}

// ReadAt reads what was written last.
func (f *overlayFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for n < len(p) && off < f.size {
		in := off % overlayPage
		chunk := p[n:min(int64(len(p)), int64(n)+min(overlayPage-in, f.size-off))]
		if page := f.pages[off-in]; page != nil {
			copy(chunk, page[in:])
		} else if err := f.readBelow(chunk, off); err != nil {
			return n, err
		}
		n += len(chunk)
		off += int64(len(chunk))
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *overlayFile) readBelow(p []byte, off int64) error {
	clear(p)
	if f.below == nil {
		return nil
	}
	if _, err := f.below.ReadAt(p, off); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// WriteAt changes pages in memory. Pages of zeros behind the end cost nothing.
func (f *overlayFile) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := 0; n < len(p); {
		in := off % overlayPage
		chunk := p[n:min(len(p), n+int(overlayPage-in))]
		page := f.pages[off-in]
		if page == nil && (f.below != nil || !isZero(chunk)) {
			page = new([overlayPage]byte)
			if err := f.readBelow(page[:], off-in); err != nil {
				return n, err
			}
			f.pages[off-in] = page
		}
		if page != nil {
			copy(page[in:], chunk)
		}
		n += len(chunk)
		off += int64(len(chunk))
		f.size = max(f.size, off)
	}
	return len(p), nil
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// Size returns the size.
func (f *overlayFile) Size() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size, nil
}

// Datasync does nothing: nothing is durable here.
func (*overlayFile) Datasync() error { return nil }

// Close keeps the file: it may be opened again.
func (*overlayFile) Close() error { return nil }

var _ FS = (*Overlay)(nil)
