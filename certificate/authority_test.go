package certificate_test

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/picloud/picloud/certificate"
)

// OP-9: the authority issues for the board, again and again, and is not overwritten.
func TestAuthority(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now()
	hosts := []string{"pi.local", "pi", "localhost", "pi.example.org", "*.apps.example.org", "192.168.1.20", "127.0.0.1", "::1", "203.0.113.7"}
	a, err := certificate.NewAuthority(dir, "pi", hosts, now)
	if err != nil {
		t.Fatal(err)
	}
	first, err := a.Issue(hosts, now)
	if err != nil {
		t.Fatal(err)
	}
	if life := first.NotAfter.Sub(first.NotBefore); life > 825*24*time.Hour {
		t.Errorf("valid for %v, which Apple's systems refuse", life)
	}
	for _, name := range []string{certificate.AuthorityKeyFile, certificate.KeyFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := certificate.NewAuthority(dir, "pi", hosts, now); !errors.Is(err, certificate.ErrAuthorityExists) {
		t.Errorf("over another: %v", err)
	}

	again, err := certificate.OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Issue([]string{"other.local", "10.1.2.3"}, now); err != nil {
		t.Errorf("for another name in the domain local: %v", err)
	}
	if got := certificate.Issued(dir); !slices.Equal(got, []string{"other.local"}) {
		t.Errorf("issued for %q", got)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Cert)
	pair, err := certificate.Load(filepath.Join(dir, certificate.CertFile), filepath.Join(dir, certificate.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "other.local"}); err != nil {
		t.Error(err)
	}
	if _, err := certificate.OpenAuthority(t.TempDir()); !errors.Is(err, certificate.ErrNoAuthority) {
		t.Errorf("where there is none: %v", err)
	}
}

// What leaks with the authority's key is this board and its network alone: for other names
// its certificates are worth nothing.
func TestAuthorityIsConstrained(t *testing.T) {
	t.Parallel()
	dir := issue(t, "pi.local", "pi", "pi.example.org")
	a, err := certificate.OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Cert.PermittedDNSDomainsCritical {
		t.Error("clients may ignore the constraints")
	}
	before, err := os.ReadFile(filepath.Join(dir, certificate.CertFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"example.org", "google.com", "pi.example.com", "locals", "8.8.8.8", "2001:db8::1"} {
		if _, err := a.Issue([]string{"pi.local", host}, time.Now()); err == nil {
			t.Errorf("%s: issued", host)
		}
	}
	for _, host := range []string{"pi-2.local", "x.pi.example.org", "172.16.0.1", "fd00::1"} {
		if _, err := a.Issue([]string{"pi.local", host}, time.Now()); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	after, err := os.ReadFile(filepath.Join(dir, certificate.CertFile))
	if err != nil || slices.Equal(before, after) {
		t.Errorf("the certificate is not replaced (%v)", err)
	}
}
