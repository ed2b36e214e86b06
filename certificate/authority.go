package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Files of an authority and of the certificate that it has issued, in their directory.
const (
	AuthorityFile    = "ca.crt"
	AuthorityKeyFile = "ca.key"
	CertFile         = "server.crt"
	KeyFile          = "server.key"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	serverLife    = 820 * 24 * time.Hour // Apple's systems refuse more than 825 days
)

// Errors of authorities.
var (
	ErrAuthorityExists = errors.New("there is an authority already")
	ErrNoAuthority     = errors.New("there is no authority")
)

// Authority is a private certificate authority in a directory. It may issue only for the names
// that it was made for, names in the domain local, and addresses of private networks, so that
// devices that trust it trust it with nothing else.
type Authority struct {
	Cert *x509.Certificate

	key crypto.Signer
	dir string
}

// privateNetworks are those that an authority may always issue for: of the loopback, private,
// and link-local.
var privateNetworks = []string{"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"}

// NewAuthority makes an authority for hosts, which are DNS names and IP addresses, and writes it
// to dir. It fails with ErrAuthorityExists where there is one.
func NewAuthority(dir, node string, hosts []string, now time.Time) (*Authority, error) {
	for _, name := range []string{AuthorityFile, AuthorityKeyFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w in %s", ErrAuthorityExists, dir)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of the authority: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: fmt.Sprintf("PiCloud of %s (%s)", node, now.UTC().Format(time.DateOnly))},
		NotBefore:    began(now), NotAfter: now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"local", "localhost"},
	}
	for _, text := range privateNetworks {
		_, network, err := net.ParseCIDR(text)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", text, err)
		}
		template.PermittedIPRanges = append(template.PermittedIPRanges, network)
	}
	names, addrs := split(hosts)
	for _, name := range names {
		if name = strings.TrimPrefix(name, "*."); !strings.HasSuffix(name, ".local") && !slices.Contains(template.PermittedDNSDomains, name) {
			template.PermittedDNSDomains = append(template.PermittedDNSDomains, name)
		}
	}
	for _, ip := range addrs {
		if !slices.ContainsFunc(template.PermittedIPRanges, func(n *net.IPNet) bool { return n.Contains(ip) }) {
			template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(8*len(ip), 8*len(ip))})
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the authority: %w", err)
	}
	a := &Authority{key: key, dir: dir}
	if a.Cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	if err := writeKey(filepath.Join(dir, AuthorityKeyFile), key, false); err != nil {
		return nil, err
	}
	return a, writePEM(filepath.Join(dir, AuthorityFile), "CERTIFICATE", der, 0o644, true)
}

// OpenAuthority reads the authority in dir. It fails with ErrNoAuthority where there is none.
func OpenAuthority(dir string) (*Authority, error) {
	certFile, keyFile := filepath.Join(dir, AuthorityFile), filepath.Join(dir, AuthorityKeyFile)
	if _, err := os.Lstat(certFile); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s", ErrNoAuthority, dir)
	}
	pair, err := loadPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("%s is no authority", certFile)
	}
	return &Authority{Cert: pair.Leaf, key: key, dir: dir}, nil
}

// Issue writes a new certificate for hosts, and its key, in place of those that are there, and
// returns it. A node that uses them takes the new ones by itself.
func (a *Authority) Issue(hosts []string, now time.Time) (*x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of the certificate: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	names, addrs := split(hosts)
	ends := now.Add(serverLife)
	if ends.After(a.Cert.NotAfter) {
		ends = a.Cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: hosts[0]},
		NotBefore: began(now), NotAfter: ends, DNSNames: names, IPAddresses: addrs,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	if err := a.verify(leaf, now); err != nil {
		return nil, err
	}
	if err := writeKey(filepath.Join(a.dir, KeyFile), key, true); err != nil {
		return nil, err
	}
	return leaf, writePEM(filepath.Join(a.dir, CertFile), "CERTIFICATE", der, 0o644, true)
}

// verify returns an error for a certificate that browsers will refuse, although they trust the
// authority.
func (a *Authority) verify(leaf *x509.Certificate, now time.Time) error {
	roots := x509.NewCertPool()
	roots.AddCert(a.Cert)
	for _, host := range names(leaf) {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: strings.Replace(host, "*", "x", 1), CurrentTime: now})
		if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.CANotAuthorizedForThisName {
			return fmt.Errorf("the authority in %s was not made for all of %s: leave some out, or make another authority in another directory, with --name for each", a.dir, strings.Join(names(leaf), ", "))
		}
		if err != nil {
			return fmt.Errorf("check the certificate for %s: %w", host, err)
		}
	}
	return nil
}

// Issued returns the DNS names of the certificate in dir; none when it cannot be read.
func Issued(dir string) []string {
	pair, err := loadPair(filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile))
	if err != nil {
		return nil
	}
	return pair.Leaf.DNSNames
}

// began is from when on a certificate is valid: clocks of other machines may be behind.
func began(now time.Time) time.Time { return now.Add(-24 * time.Hour) }

// newSerial returns a random serial number.
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return n, nil
}

// split tells DNS names from addresses.
func split(hosts []string) (names []string, addrs []net.IP) {
	for _, host := range hosts {
		if addr, err := netip.ParseAddr(host); err == nil {
			addrs = append(addrs, net.IP(addr.Unmap().AsSlice()))
		} else {
			names = append(names, host)
		}
	}
	return names, addrs
}

func writeKey(path string, key *ecdsa.PrivateKey, shared bool) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the key: %w", err)
	}
	return writePEM(path, "PRIVATE KEY", der, 0o600, shared)
}

// writePEM puts a file in the place of path, whole or not at all. A shared one that root writes
// into the directory of another user belongs to that user, as whom the node runs.
func writePEM(path, kind string, der []byte, mode fs.FileMode, shared bool) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", path, err), f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if shared && os.Geteuid() == 0 {
		if err := Inherit(f.Name()); err != nil {
			return err
		}
	}
	if err := pem.Encode(f, &pem.Block{Type: kind, Bytes: der}); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	_ = f.Close() // everything is on the disk
	return nil
}

// Inherit gives a file to the user and the group of its directory.
func Inherit(path string) error {
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return os.Lchown(path, int(st.Uid), int(st.Gid))
}
