package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"

	"github.com/picloud/picloud"
)

// fileReader is the content of a file, open for reading. Read from its beginning to its end it
// is checked: the last part comes only if it is what was written, else the error is
// picloud.ErrFileDamaged. Parts that are looked for with Seek are not checked. It is for
// one reader at a time.
type fileReader struct {
	s    *Store
	f    picloud.File
	file *os.File
	sum  hash.Hash
	read int64
	part bool // not read from its beginning
}

// OpenContent opens the content that a file had, for copying it elsewhere: the file may be
// another by now. Without one the error is fs.ErrNotExist. It is checked as OpenFile says.
func (s *Store) OpenContent(f picloud.File) (io.ReadSeekCloser, error) {
	file, err := s.blobs.open(f.Blob)
	if err != nil {
		return nil, err
	}
	return s.readerOf(f, file), nil
}

func (s *Store) readerOf(f picloud.File, file *os.File) *fileReader {
	return &fileReader{s: s, f: f, file: file, sum: sha256.New()}
}

// Read implements io.Reader.
func (c *fileReader) Read(p []byte) (int, error) {
	if c.part {
		return c.file.Read(p)
	}
	if c.read == c.f.Size && c.f.Size > 0 {
		return 0, io.EOF
	}
	n, err := c.file.Read(p[:min(int64(len(p)), c.f.Size-c.read+1)]) // one more byte would be too many
	c.read += int64(n)
	c.sum.Write(p[:n])
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return n, err
	case c.read < c.f.Size && err == nil:
		return n, nil
	case c.read != c.f.Size || hex.EncodeToString(c.sum.Sum(nil)) != c.f.SHA256:
		c.s.contentDamaged(&c.f, "is damaged, and is not served whole")
		return 0, picloud.ErrFileDamaged
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Seek implements io.Seeker.
func (c *fileReader) Seek(offset int64, whence int) (int64, error) {
	c.part = true
	return c.file.Seek(offset, whence)
}

// Close implements io.Closer.
func (c *fileReader) Close() error { return c.file.Close() }
