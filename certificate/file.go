package certificate

import (
	"crypto/x509"
	"slices"

	"github.com/picloud/picloud/keyfile"
)

// maxFile bounds a PEM file in bytes.
const maxFile = 1 << 20

// pairState is the state of both files.
type pairState struct{ cert, key keyfile.State }

func statePair(certFile, keyFile string) pairState {
	return pairState{keyfile.StateOf(certFile), keyfile.StateOf(keyFile)}
}

// names returns the names of a certificate: DNS names, then addresses.
func names(leaf *x509.Certificate) []string {
	list := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		list = append(list, ip.String())
	}
	return list
}
