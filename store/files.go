package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

const tableFile table = 28 // app, zero byte, path: what there is to know of a file beside its content

var fileKind = rowKind{
	name: "files", data: true,
	happened: fileHappened,
	holds: func(u *usage, key, row []byte, sign int64) {
		f, _ := decodeAs[picloud.File](row)
		u.data.add(amountOf(key, row, f.Size), sign)
	},
	staged: (*tx).replaceBlob,
	copied: copies[picloud.File]{
		as: picloud.ChangeFile,
		former: func(f *picloud.File) {
			if check.File("any", f.Type) != nil { // a type that none may have any more
				f.Type = anyBytes
			}
		},
		check: checkedBy(checkFile),
		to: func(_ *restorer, f picloud.File) ([]change, error) {
			return putOf(tableFile, pair(f.App, f.Path), f), nil
		},
	},
}

// File returns what there is to know of a file, or picloud.ErrFileNotFound.
func (s *Store) File(app, path string) (f picloud.File, err error) {
	if _, err := s.catalog.Load().app(app); err != nil {
		return f, err
	}
	b := s.tables.get(tableFile, []byte(pair(app, path)))
	if b == nil {
		return f, picloud.ErrFileNotFound
	}
	err = cborDecode(b, &f)
	return f, err
}

// OpenFile opens a file as it is now: what is written later does not change what is
// read. The caller closes the content. Read from its beginning to its end it is checked: the
// last part comes only if it is what was written, else the error is picloud.ErrFileDamaged.
func (s *Store) OpenFile(app, path string) (f picloud.File, c io.ReadSeekCloser, err error) {
	for before := ""; ; {
		if f, err = s.File(app, path); err != nil {
			return f, nil, err
		}
		file, err := s.blobs.open(f.Blob)
		switch {
		case err == nil:
			return f, s.readerOf(f, file), nil
		case !errors.Is(err, fs.ErrNotExist):
			return f, nil, err
		case f.Blob == before:
			s.contentDamaged(&f, "is gone")
			return f, nil, picloud.ErrFileLost
		}
		before = f.Blob // it may have been replaced in between
	}
}

// Files returns a page of an app's files whose paths begin with a prefix, in the
// order of the bytes of their paths. Next is what after has to be for the following
// page; empty: there is none.
func (s *Store) Files(app, prefix, after string, limit int) (page []picloud.File, next string, err error) {
	if _, err := s.catalog.Load().app(app); err != nil {
		return nil, "", err
	}
	limit = min(or(limit, picloud.MaxPage), picloud.MaxPage)
	s.tables.scan(tableFile, pair(app, prefix), pair(app, after), func(_ string, v []byte) bool {
		var f picloud.File
		if err = cborDecode(v, &f); err != nil {
			return false
		}
		if f.Path == after {
			return true
		}
		if len(page) == limit {
			next = page[limit-1].Path
			return false
		}
		page = append(page, f)
		return true
	})
	return page, next, err
}

// anyBytes is the content type of files that have no other.
const anyBytes = "application/octet-stream"

// MaxFile returns the largest content of a file in bytes.
func (s *Store) MaxFile() int64 { return s.cfg.MaxFile }

// PutFile writes a file with what content holds until its end, and returns it as it
// is then. Readers see the old file or the new one. When it fails nothing has
// changed, but after an error of the disk, when that is not known.
func (s *Store) PutFile(ctx context.Context, c picloud.FileChange, content io.Reader) (f picloud.File, err error) {
	if err := check.File(c.Path, c.Type); err != nil {
		return f, err
	}
	old, err := s.mayPutFile(&c)
	if err != nil {
		return f, err
	}
	in, err := s.beginUpload(&c, old.Size, content)
	if err != nil {
		return f, err
	}
	defer in.end()
	w, err := s.blobs.write(in)
	kept := false
	defer func() { s.blobs.finish(w.name, kept) }()
	switch {
	case err != nil:
		return f, in.fault(err)
	case c.SHA256 != "" && !strings.EqualFold(c.SHA256, w.sum):
		return f, picloud.ErrFileDigest
	}
	kept = true // unless the row is known not to name it
	f = picloud.File{App: c.App, Path: c.Path, Type: or(c.Type, anyBytes), Size: w.size, SHA256: w.sum, Blob: w.name}
	return ask(context.WithoutCancel(ctx), s, c.App, 0, func(tx *tx) (picloud.File, error) { // so that kept is read after it was written
		err := tx.app(c.App, c.Cause)
		if err == nil {
			err = tx.putFile(&f, c.If)
		}
		kept = err == nil
		return f, err
	})
}

// putFile stages the row of a file whose content is there.
func (t *tx) putFile(f *picloud.File, cond picloud.Precondition) error {
	old, err := t.file(f.App, f.Path)
	if err == nil {
		err = cond.Check(old.Version)
	}
	if err != nil {
		return err
	}
	f.CreatedAt, f.UpdatedAt = old.CreatedAt, fromMicros(t.at)
	if f.Version = nextVersion(old.Version, t.at); old.Version == 0 {
		f.CreatedAt = f.UpdatedAt
	}
	t.put(tableFile, pair(f.App, f.Path), *f)
	return nil
}

// mayPutFile says before anything is read what would be said afterwards, and returns
// the file that is replaced; all zero: none.
func (s *Store) mayPutFile(c *picloud.FileChange) (old picloud.File, err error) {
	old, err = s.File(c.App, c.Path)
	switch {
	case err != nil && !errors.Is(err, picloud.ErrFileNotFound):
		return old, err
	case s.readOnly:
		return old, picloud.ErrReadOnly
	case c.Size > s.cfg.MaxFile:
		return old, picloud.ErrFileTooLarge.Detailf("it has %d bytes, the limit is %d; the operator can raise files.max_bytes", c.Size, s.cfg.MaxFile)
	}
	return old, c.If.Check(old.Version)
}

// DeleteFile removes a file, or returns picloud.ErrFileNotFound. Who reads it reads
// it to its end.
func (s *Store) DeleteFile(ctx context.Context, d picloud.Deletion) error {
	return s.do(ctx, d.App, func(tx *tx) error {
		if err := tx.app(d.App, d.Cause); err != nil {
			return err
		}
		old, err := tx.file(d.App, d.Name)
		if err != nil {
			return err
		}
		if old.Version == 0 {
			return picloud.ErrFileNotFound
		}
		if err := d.If.Check(old.Version); err != nil {
			return err
		}
		tx.remove(tableFile, pair(d.App, d.Name))
		return nil
	})
}

// file returns the row of a file, all zero when there is none.
func (t *tx) file(app, path string) (f picloud.File, err error) {
	if _, err := t.catalog.app(app); err != nil {
		return f, err
	}
	if b := t.get(tableFile, []byte(pair(app, path))); b != nil {
		err = cborDecode(b, &f)
	}
	return f, err
}

// replaceBlob notes which content is not named any more with a change of a file.
func (t *tx) replaceBlob(c change) {
	app, path, _ := strings.Cut(string(c.key), "\x00")
	if old, err := t.file(app, path); err == nil && old.Blob != "" {
		t.blobs = append(t.blobs, old.Blob)
	}
}

// checkFile checks what there is to know of a file that was not written here.
func checkFile(f picloud.File) error {
	sum, err := hex.DecodeString(f.SHA256)
	switch {
	case !blobName.MatchString(f.Blob):
		return picloud.ErrFileInvalid.Detailf("its content is called %q; such a name is never given", f.Blob)
	case f.Size < 0 || err != nil || len(sum) != sha256.Size:
		return picloud.ErrFileInvalid.Detailf("its size or the checksum of its content is none")
	}
	return errors.Join(check.File(f.Path, f.Type), check.Version(picloud.ErrFileInvalid, f.Version))
}

// fileHappened tells of a file that was written or removed.
func fileHappened(ch change, by cause) (matched, bool, error) {
	app, path, _ := strings.Cut(string(ch.key), "\x00")
	what := picloud.Happening{Kind: picloud.TriggerFiles, At: fromMicros(by.at), Hops: by.hops, Name: path, Deleted: ch.value == nil}
	if ch.value != nil {
		f, err := decodeAs[picloud.File](ch.value)
		if err != nil {
			return matched{}, false, err
		}
		data, err := picloud.EncodeJSON(map[string]any{
			"path": f.Path, "type": f.Type, "size": f.Size, "sha256": f.SHA256, "version": f.Version,
			"created_at": f.CreatedAt.Format(picloud.TimeLayout), "updated_at": f.UpdatedAt.Format(picloud.TimeLayout),
		})
		if err != nil {
			return matched{}, false, fmt.Errorf("describe a file: %w", err)
		}
		what.Data, what.Version = data, f.Version
	}
	return matched{app: app, by: path, lsn: by.lsn, what: what}, true, nil
}
