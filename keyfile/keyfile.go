// Package keyfile reads small files that the operator names in the configuration: keys,
// certificates, a URL with a password. Whatever the name leads to, it neither waits nor
// reads more than such a file has, and it tells that they have changed. It does not judge what is in them.
package keyfile

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// Read returns what a regular file holds. A file of more than most bytes, or what is no
// regular file, is an error.
func Read(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // #nosec G304 -- the operator names it
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	switch info, err := f.Stat(); {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case info.Size() > most:
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that such a file may have", path, info.Size(), most)
	}
	return io.ReadAll(io.LimitReader(f, most))
}
