package certificate

import (
	"crypto/x509"
	"os"
	"slices"
	"syscall"
	"time"
)

// maxFile bounds a PEM file in bytes.
const maxFile = 1 << 20

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
