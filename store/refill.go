package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/picloud/picloud"
)

// refill writes the contents of the files that rows name.
func (s *Store) refill(from *Rebuilt) error {
	r := refilling{s: s}
	if err := r.want(); err != nil {
		return err
	}
	if from.Contents != nil {
		if err := errors.Join(from.Contents(r.put), r.finish()); err != nil {
			return err
		}
	}
	if err := syncDir(s.blobs.dir); err != nil {
		return err
	}
	if from.Lacking != nil {
		for _, name := range slices.Sorted(maps.Keys(r.wanted)) {
			from.Lacking(r.wanted[name])
		}
	}
	return nil
}

// refilling is a refill that is under way.
type refilling struct {
	s      *Store
	wanted map[string]picloud.File // by the names of their contents, which are not there yet

	file picloud.File // whose content comes
	f    *os.File     // nil: none does
	size int64
	sum  hash.Hash
}

// want finds out which contents there have to be. Empty ones are not copied.
func (r *refilling) want() (err error) {
	r.wanted = map[string]picloud.File{}
	r.s.tables.scan(tableFile, "", "", func(_ string, row []byte) bool {
		var f picloud.File
		if f, err = decodeAs[picloud.File](row); err != nil {
			return false
		}
		if other, twice := r.wanted[f.Blob]; twice {
			err = fmt.Errorf("the files %s of app %s and %s of app %s cannot have one content", other.Path, other.App, f.Path, f.App)
			return false
		}
		r.wanted[f.Blob] = f
		return true
	})
	if err != nil {
		return err
	}
	for name, f := range r.wanted {
		if f.Size > 0 {
			continue
		}
		if err := errors.Join(r.begin(name), r.finish()); err != nil {
			return err
		}
	}
	return nil
}

func (r *refilling) begin(name string) (err error) {
	root, err := r.s.blobs.folder(name)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // nothing was written through it
	r.file, r.size, r.sum = r.wanted[name], 0, sha256.New()
	r.f, err = root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return err
}

// put takes a part of a content. What is longer than its file says is cut: it is not
// the content of the file.
func (r *refilling) put(name string, part []byte) error {
	if r.f == nil || r.file.Blob != name {
		if err := r.finish(); err != nil {
			return err
		}
		if _, ok := r.wanted[name]; !ok {
			return fmt.Errorf("a copy cannot hold a content that is called %q: no file has it, or it has come already", name)
		}
		if err := r.begin(name); err != nil {
			return err
		}
	}
	part = part[:min(int64(len(part)), r.file.Size+1-r.size)]
	r.size += int64(len(part))
	if err := r.s.room(int64(len(part))); err != nil {
		return err
	}
	_, _ = r.sum.Write(part) // never fails
	_, err := r.f.Write(part)
	return err
}

// finish ends the content that comes, and removes it unless it is the one that its
// file had.
func (r *refilling) finish() error {
	if r.f == nil {
		return nil
	}
	err := errors.Join(r.f.Sync(), r.f.Close())
	r.f = nil
	if r.size != r.file.Size || !strings.EqualFold(sumText(r.sum), r.file.SHA256) {
		r.s.blobs.remove(r.file.Blob)
		return err
	}
	delete(r.wanted, r.file.Blob)
	return err
}
