package certificate

import (
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"
)

// maxFile bounds a PEM file in bytes.
const maxFile = 1 << 20

// readFile reads a PEM file. It waits for no pipe and reads no more than such a file has.
func readFile(path string) ([]byte, error) {
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
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes, which is no PEM file", path, info.Size())
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// fileState tells a file from one that has taken its place, links followed.
type fileState struct {
	device, inode uint64
	size          int64
	changed       time.Time
	missing       bool
}

// pairState is the state of both files.
type pairState struct{ cert, key fileState }

func statePair(certFile, keyFile string) pairState {
	return pairState{stateOf(certFile), stateOf(keyFile)}
}

func stateOf(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{missing: true}
	}
	s := fileState{size: info.Size(), changed: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode = uint64(st.Dev), st.Ino //nolint:unconvert // its type differs between boards
		s.changed = time.Unix(st.Ctim.Unix())      // also when its owner or mode has changed
	}
	return s
}

// names returns the names of a certificate: DNS names, then addresses.
func names(leaf *x509.Certificate) []string {
	list := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		list = append(list, ip.String())
	}
	return list
}
