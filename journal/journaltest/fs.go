// Package journaltest is a file system in memory for tests of package journal:
// it loses what was not synced, tears writes, runs full and fails on purpose.
//
// It models what a disk may do at a power cut: of each file, any subset of the
// 512-byte sectors written since the last Datasync may have arrived; of each
// directory, any prefix of the changes of names since the last SyncDir.
package journaltest

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/picloud/picloud/journal"
)

// Sector is the unit in which writes arrive.
const Sector = 512

// FS is the file system. Its zero value is not ready; use New.
type FS struct {
	mu      sync.Mutex
	names   map[string]*inode
	durable map[string]*inode
	ops     []nameOp // since the last SyncDir of their directory
	limit   int64    // bytes of all files; 0: none
	fault   func(op, name string) error
}

type inode struct {
	data    []byte
	durable []byte
	dirty   map[int]bool // sectors written since the last Datasync
}

// nameOp is a change of one name; node nil: removed.
type nameOp struct {
	dir  string
	name []string
	node []*inode
}

// New returns an empty file system.
func New() *FS { return &FS{names: map[string]*inode{}, durable: map[string]*inode{}} }

// SetFault makes fn decide before every "create", "write", "sync", "rename",
// "link", "remove" and "syncdir" whether it fails. A write that fails leaves
// half of its bytes.
func (f *FS) SetFault(fn func(op, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fn
}

// SetLimit bounds the bytes of all files; beyond it, growing a file fails with
// ENOSPC. 0: no bound.
func (f *FS) SetLimit(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = n
}

func (f *FS) fails(op, name string) error {
	if f.fault == nil {
		return nil
	}
	return f.fault(op, name)
}

// Crash returns the file system as a power cut may leave it. The old one must
// not be used any more.
func (f *FS) Crash(rng *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	keep := rng.IntN(len(f.ops) + 1)
	for _, op := range f.ops[:keep] {
		f.settle(op)
	}
	next := New()
	seen := map[*inode]*inode{}
	for name, n := range f.durable {
		if seen[n] == nil {
			seen[n] = n.crash(rng)
		}
		next.names[name], next.durable[name] = seen[n], seen[n]
	}
	return next
}

// Kill returns the file system as a killed process leaves it: everything
// written is there, and may or may not be durable yet.
func (f *FS) Kill() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := &FS{names: f.names, durable: f.durable, ops: f.ops}
	return next
}

func (n *inode) crash(rng *rand.Rand) *inode {
	data := append([]byte(nil), n.durable...)
	percent := rng.IntN(101)
	for s := range n.dirty {
		if rng.IntN(100) >= percent {
			continue
		}
		end := min((s+1)*Sector, len(n.data))
		if end > len(data) {
			data = append(data, make([]byte, end-len(data))...)
		}
		copy(data[s*Sector:end], n.data[s*Sector:end])
	}
	return &inode{data: data, durable: append([]byte(nil), data...), dirty: map[int]bool{}}
}

// Flip inverts one bit of a file, durably.
func (f *FS) Flip(name string, offset int64, bit uint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.names[name]
	n.data[offset] ^= 1 << bit
	n.durable = append([]byte(nil), n.data...)
}

// ReadFile returns the content of a file, nil when there is none.
func (f *FS) ReadFile(name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.names[name]
	if n == nil {
		return nil
	}
	return append([]byte(nil), n.data...)
}

// WriteFile puts a file there, durably.
func (f *FS) WriteFile(name string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := &inode{data: append([]byte(nil), data...), durable: append([]byte(nil), data...), dirty: map[int]bool{}}
	f.names[name], f.durable[name] = n, n
}

// Clone returns an independent copy in which everything is durable.
func (f *FS) Clone() *FS {
	next := New()
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, n := range f.names {
		c := &inode{data: append([]byte(nil), n.data...), durable: append([]byte(nil), n.data...), dirty: map[int]bool{}}
		next.names[name], next.durable[name] = c, c
	}
	return next
}

// MkdirAll does nothing: directories are parts of names.
func (*FS) MkdirAll(string) error { return nil }

// List returns the names of the files in dir.
func (f *FS) List(dir string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for name := range f.names {
		if filepath.Dir(name) == filepath.Clean(dir) {
			out = append(out, filepath.Base(name))
		}
	}
	return out, nil
}

func (f *FS) change(dir string, names []string, nodes []*inode) {
	op := nameOp{dir: filepath.Clean(dir), name: names, node: nodes}
	for i, name := range names {
		if nodes[i] == nil {
			delete(f.names, name)
		} else {
			f.names[name] = nodes[i]
		}
	}
	f.ops = append(f.ops, op)
}

func (f *FS) settle(op nameOp) {
	for i, name := range op.name {
		if op.node[i] == nil {
			delete(f.durable, name)
		} else {
			f.durable[name] = op.node[i]
		}
	}
}

// Create makes a new file.
func (f *FS) Create(name string) (journal.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fails("create", name); err != nil {
		return nil, err
	}
	if f.names[name] != nil {
		return nil, fs.ErrExist
	}
	n := &inode{dirty: map[int]bool{}}
	f.change(filepath.Dir(name), []string{name}, []*inode{n})
	return &file{fs: f, name: name, inode: n}, nil
}

// Open opens a file.
func (f *FS) Open(name string) (journal.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.names[name]
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return &file{fs: f, name: name, inode: n}, nil
}

// Rename renames a file.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fails("rename", from); err != nil {
		return err
	}
	n := f.names[from]
	if n == nil {
		return fs.ErrNotExist
	}
	f.change(filepath.Dir(to), []string{from, to}, []*inode{nil, n})
	return nil
}

// Link gives a file a second name.
func (f *FS) Link(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fails("link", from); err != nil {
		return err
	}
	n := f.names[from]
	if n == nil {
		return fs.ErrNotExist
	}
	f.change(filepath.Dir(to), []string{to}, []*inode{n})
	return nil
}

// Remove removes a name.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fails("remove", name); err != nil {
		return err
	}
	if f.names[name] == nil {
		return fs.ErrNotExist
	}
	f.change(filepath.Dir(name), []string{name}, []*inode{nil})
	return nil
}

// SyncDir makes the names in dir durable.
func (f *FS) SyncDir(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fails("syncdir", dir); err != nil {
		return err
	}
	var rest []nameOp
	for _, op := range f.ops {
		if op.dir == filepath.Clean(dir) {
			f.settle(op)
		} else {
			rest = append(rest, op)
		}
	}
	f.ops = rest
	return nil
}

type file struct {
	fs    *FS
	name  string
	inode *inode
}

// ReadAt reads.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off >= int64(len(f.inode.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.inode.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.fails("write", f.name); err != nil {
		n := len(p) / 2
		f.write(p[:n], off)
		return n, err
	}
	if grow := off + int64(len(p)) - int64(len(f.inode.data)); grow > 0 && f.fs.limit > 0 && f.fs.used()+grow > f.fs.limit {
		return 0, syscall.ENOSPC
	}
	f.write(p, off)
	return len(p), nil
}

func (f *file) write(p []byte, off int64) {
	n := f.inode
	if end := off + int64(len(p)); end > int64(len(n.data)) {
		n.data = append(n.data, make([]byte, end-int64(len(n.data)))...)
	}
	copy(n.data[off:], p)
	for s := off / Sector; s*Sector < off+int64(len(p)); s++ {
		n.dirty[int(s)] = true
	}
}

func (f *FS) used() int64 {
	seen, sum := map[*inode]bool{}, int64(0)
	for _, n := range f.names {
		if !seen[n] {
			seen[n] = true
			sum += int64(len(n.data))
		}
	}
	return sum
}

// Size returns the size.
func (f *file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.inode.data)), nil
}

// Datasync makes the content durable.
func (f *file) Datasync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.fails("sync", f.name); err != nil {
		return err
	}
	n := f.inode
	if len(n.durable) < len(n.data) {
		n.durable = append(n.durable, make([]byte, len(n.data)-len(n.durable))...)
	}
	for s := range n.dirty {
		end := min((s+1)*Sector, len(n.data))
		copy(n.durable[s*Sector:end], n.data[s*Sector:end])
	}
	clear(n.dirty)
	return nil
}

// Close does nothing.
func (*file) Close() error { return nil }

// ErrInjected is a fault that SetFault's functions may return.
var ErrInjected = errors.New("injected fault")

var _ journal.FS = (*FS)(nil)
