package store

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/picloud/picloud"
)

// uploads knows how much is arriving. What a content may still write is promised to it
// before it is read, so that all of them together leave the reserve of the disk to
// others, and those of an app its quota.
type uploads struct {
	mu       sync.Mutex
	promised int64            // bytes that may still be written
	arriving map[string]int64 // by app: bytes that contents have or may still write
}

// lookEvery is how many bytes are promised at a time to a content of unknown size, and
// after how many of a content the free space is looked at again.
const lookEvery = 8 << 20

// upload reads a content as long as it may be and there is room for it.
type upload struct {
	s        *Store
	app      string
	r        io.Reader
	left     int64 // up to the largest size of a file
	next     int64 // bytes until the next look
	promised int64 // bytes
	taken    int64 // all that was promised so far
	open     bool  // how much it is, is not known
	replaces int64 // bytes of the content that goes when this one is there
	err      error // why it ended: that of the reader, or a public one
}

// beginUpload makes room for a content, or returns a public error. The caller ends it.
func (s *Store) beginUpload(c *picloud.FileChange, replaces int64, content io.Reader) (*upload, error) {
	u := &upload{s: s, app: c.App, r: content, left: s.cfg.MaxFile, next: lookEvery, replaces: replaces}
	n := c.Size
	if u.open = n < 0; u.open {
		n = min(lookEvery, s.cfg.MaxFile)
	}
	if err := u.promise(n); err != nil {
		return nil, err
	}
	return u, nil
}

// promise makes room for n bytes more.
func (u *upload) promise(n int64) error {
	s, all := u.s, &u.s.uploads
	all.mu.Lock()
	defer all.mu.Unlock()
	free, known := s.space.free()
	if known && (s.space.full.Load() || free-all.promised-n < s.space.reserve) {
		return picloud.ErrNoSpace.Detailf("%d bytes are free, of which %d are left to others, and %d are promised to files that are arriving", free, s.space.reserve, all.promised)
	}
	if limit := s.cfg.DataBytes; limit > 0 {
		row, err := s.catalog.Load().app(u.app)
		if err != nil {
			return err
		}
		have := row.sequence.account.read().data.bytes + all.arriving[u.app] - u.replaces
		if u.open && have-u.promised < limit {
			n = min(n, limit-have) // it may end before
		}
		if have+n > limit {
			return dataFull(have, n, limit)
		}
	}
	if all.arriving == nil {
		all.arriving = map[string]int64{}
	}
	all.promised += n
	all.arriving[u.app] += n
	u.promised += n
	u.taken += n
	return nil
}

// wrote takes back the promise for n bytes, which are on the disk by now.
func (u *upload) wrote(n int64) {
	u.promised -= n
	u.s.uploads.mu.Lock()
	defer u.s.uploads.mu.Unlock()
	u.s.uploads.promised -= n
}

// end takes back all that is promised still.
func (u *upload) end() {
	all := &u.s.uploads
	all.mu.Lock()
	defer all.mu.Unlock()
	all.promised -= u.promised
	if all.arriving[u.app] -= u.taken; all.arriving[u.app] == 0 {
		delete(all.arriving, u.app)
	}
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.left -= int64(n)
	u.next -= int64(n)
	u.wrote(int64(n))
	var more int64
	if u.promised < 0 {
		more = lookEvery
	}
	switch {
	case u.left < 0:
		err = picloud.ErrFileTooLarge.Detailf("it has more than %d bytes, the limit is that; the operator can raise files.max_bytes", u.s.cfg.MaxFile)
	case u.next < 0 || more > 0:
		u.next = lookEvery
		if fault := u.promise(more); fault != nil {
			err = fault
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		u.err = err
	}
	return n, err
}

// fault is what a write that failed is told as: what was read was at fault, or the
// disk.
func (u *upload) fault(err error) error {
	switch {
	case u.err != nil:
		return u.err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return picloud.ErrNoSpace
	}
	return fmt.Errorf("write a file: %w", err)
}

// room returns picloud.ErrNoSpace when so many bytes more would use up what is left
// to others.
func (s *Store) room(n int64) error {
	free, known := s.space.free()
	if known && (free-n < s.space.reserve || s.space.full.Load()) {
		return picloud.ErrNoSpace.Detailf("%d bytes are free, of which %d are left to others", free, s.space.reserve)
	}
	return nil
}
