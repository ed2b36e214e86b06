package e2e

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// crashDisk is a disk that can be cut off. It is a file of a FUSE file system
// with a loop device and a real ext4 on it: what the file system writes stays
// volatile until it asks for a flush, as in the cache of a card. An image of it
// holds what was flushed, and of the rest what chance lets through, sector by
// sector: later writes may be there and earlier ones not.
type crashDisk struct {
	fs.Inode

	mu       sync.Mutex // guards what follows
	now      []byte     // as it is read back
	flushed  []byte
	volatile []diskWrite // since the last flush
	writes   int
	flushes  int
	refused  []byte        // writes that hold this fail; empty: none do
	slow     time.Duration // what each byte takes to be written
	stuck    chan struct{} // nothing is written until it is closed; nil: all is
}

// slowDown makes every byte take so long to be written; 0: no time.
func (d *crashDisk) slowDown(perByte time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow = perByte
}

// stick makes writes wait until the function it returns is called.
func (d *crashDisk) stick() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	stuck := make(chan struct{})
	d.stuck = stuck
	return sync.OnceFunc(func() { close(stuck) })
}

// takeTime returns when the disk comes to a write of so many bytes.
func (d *crashDisk) takeTime(ctx context.Context, size int) {
	d.mu.Lock()
	slow, stuck := d.slow, d.stuck
	d.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	if slow > 0 {
		pause(ctx, time.Duration(size)*slow)
	}
}

// refuse makes every write that holds b fail, as a bad block does; nil: none.
func (d *crashDisk) refuse(b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused = b
}

type diskWrite struct {
	at   int64
	data []byte
}

// sector is what a card writes whole or not at all.
const sector = 512

// superblockEnd is where the first block of ext4 ends.
const superblockEnd = 4096

// image returns what may be on the disk when the power is cut now. keep is the
// chance that a sector that was not flushed survives.
func (d *crashDisk) image(rng *rand.Rand, keep float64) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := append([]byte(nil), d.flushed...)
	for _, w := range d.volatile {
		size := sector
		if w.at < superblockEnd {
			size = superblockEnd // ext4 itself cannot mount half a superblock
		}
		for i := 0; i < len(w.data); i += size {
			if rng.Float64() < keep {
				copy(b[w.at+int64(i):], w.data[i:min(i+size, len(w.data))])
			}
		}
	}
	return b
}

// set replaces the whole content, durably.
func (d *crashDisk) set(b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now, d.flushed, d.volatile = b, append([]byte(nil), b...), nil
}

func (d *crashDisk) traffic() (writes, flushes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes, d.flushes
}

var (
	_ fs.NodeOpener    = (*crashDisk)(nil)
	_ fs.NodeReader    = (*crashDisk)(nil)
	_ fs.NodeWriter    = (*crashDisk)(nil)
	_ fs.NodeFsyncer   = (*crashDisk)(nil)
	_ fs.NodeGetattrer = (*crashDisk)(nil)
	_ fs.NodeSetattrer = (*crashDisk)(nil)
)

// Open lets every read and write through to the disk.
func (*crashDisk) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

// Read reads.
func (d *crashDisk) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	if off < int64(len(d.now)) {
		n = copy(dest, d.now[off:])
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// Write writes, not durably.
func (d *crashDisk) Write(ctx context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	d.takeTime(ctx, len(data))
	d.mu.Lock()
	defer d.mu.Unlock()
	if off+int64(len(data)) > int64(len(d.now)) {
		return 0, syscall.ENOSPC
	}
	if len(d.refused) > 0 && bytes.Contains(data, d.refused) {
		return 0, syscall.EIO
	}
	copy(d.now[off:], data)
	d.volatile = append(d.volatile, diskWrite{off, append([]byte(nil), data...)})
	d.writes++
	return uint32(len(data)), 0
}

// Fsync is the disk's flush.
func (d *crashDisk) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.volatile {
		copy(d.flushed[w.at:], w.data)
	}
	d.volatile = d.volatile[:0]
	d.flushes++
	return 0
}

// Getattr tells the size.
func (d *crashDisk) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	out.Mode, out.Size = 0o600|syscall.S_IFREG, uint64(len(d.now))
	return 0
}

// Setattr changes nothing: the disk keeps its size.
func (d *crashDisk) Setattr(ctx context.Context, f fs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return d.Getattr(ctx, f, out)
}

// disks is a FUSE file system with two disks of one size: the one that is cut
// off, with an ext4 on it, and one that takes its images.
type disks struct {
	t      *testing.T
	dir    string
	live   *crashDisk
	second *crashDisk
}

func newDisks(t *testing.T, size int64) *disks {
	t.Helper()
	needRoot(t)
	for _, device := range []string{"/dev/fuse", "/dev/loop-control"} {
		if _, err := os.Stat(device); err != nil {
			t.Skipf("needs %s: %v", device, err)
		}
	}
	dir := t.TempDir()
	d := &disks{t: t, dir: dir, live: new(crashDisk), second: new(crashDisk)}
	for _, name := range []string{"fuse", "mnt", "mnt2"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(empty, size); err != nil {
		t.Fatal(err)
	}
	d.sh("mke2fs", "-q", "-t", "ext4", "-F", empty)
	formatted, err := os.ReadFile(empty)
	if err != nil {
		t.Fatal(err)
	}
	d.live.set(formatted)
	d.second.set(make([]byte, size))
	root := new(fs.Inode)
	server, err := fs.Mount(filepath.Join(dir, "fuse"), root, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "crashdisk", AllowOther: true},
		OnAdd: func(ctx context.Context) {
			root.AddChild("live", root.NewPersistentInode(ctx, d.live, fs.StableAttr{Mode: syscall.S_IFREG}), false)
			root.AddChild("second", root.NewPersistentInode(ctx, d.second, fs.StableAttr{Mode: syscall.S_IFREG}), false)
		},
	})
	if err != nil {
		t.Fatalf("mount a FUSE file system: %v", err)
	}
	t.Cleanup(func() { _ = server.Unmount() })
	t.Cleanup(d.mount("live", "mnt"))
	return d
}

// mount puts a loop device on a disk and mounts it. The function it returns
// takes both away.
func (d *disks) mount(disk, at string) (unmount func()) {
	d.t.Helper()
	loop := d.sh("losetup", "-f", "--show", filepath.Join(d.dir, "fuse", disk))
	point := filepath.Join(d.dir, at)
	if out, err := exec.Command("mount", "-t", "ext4", loop, point).CombinedOutput(); err != nil {
		_ = exec.Command("losetup", "-d", loop).Run()
		d.t.Fatalf("mount the image: %v: %s", err, out)
	}
	return func() {
		if out, err := exec.Command("umount", point).CombinedOutput(); err != nil {
			d.t.Errorf("umount %s: %v: %s", point, err, out)
		}
		_ = exec.Command("losetup", "-d", loop).Run()
	}
}

func (d *disks) sh(name string, args ...string) string {
	d.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
