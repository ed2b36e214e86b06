package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/daemon"
)

// Doctor tells each state of a certificate.
func TestCertificateFinding(t *testing.T) {
	t.Parallel()
	in := func(d time.Duration) api.Time { return api.At(time.Now().Add(d)) }
	for says, c := range map[string]struct {
		tls api.TLS
		ok  bool
	}{
		"for pi.local, until":          {api.TLS{Names: []string{"pi.local"}, ExpiresAt: in(time.Hour)}, true},
		"ends soon":                    {api.TLS{Names: []string{"pi.local"}, ExpiresAt: in(time.Hour), Expires: true}, false},
		"ended":                        {api.TLS{Names: []string{"pi.local"}, ExpiresAt: in(-time.Hour), Expires: true}, false},
		"valid only from":              {api.TLS{Names: []string{"pi.local"}, StartsAt: in(time.Hour), ExpiresAt: in(2 * time.Hour)}, false},
		"HTTPS refuses connections: x": {api.TLS{Fault: "x"}, false},
		"the new files cannot be used": {api.TLS{Names: []string{"pi.local"}, ExpiresAt: in(time.Hour), Fault: "x"}, false},
	} {
		if f := certificateFinding(&c.tls); f.OK != c.ok || !strings.Contains(f.Says, says) || !f.OK && f.Fix == "" {
			t.Errorf("%s: %+v", says, f)
		}
	}
}

// Without a node doctor looks at the files of the certificate itself.
func TestDoctorChecksTheFilesOfTheCertificate(t *testing.T) {
	t.Parallel()
	cfg := daemon.DefaultConfig()
	if _, ok := tlsFinding(&cfg); ok {
		t.Error("there is no certificate to find anything about")
	}
	dir := t.TempDir()
	if _, err := selfSigned(cfg, dir, nil, false); err != nil {
		t.Fatal(err)
	}
	cfg.TLSCert, cfg.TLSKey = filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	if f, ok := tlsFinding(&cfg); !ok || !f.OK || !strings.Contains(f.Says, "localhost") {
		t.Errorf("a sound pair: %+v", f)
	}
	cfg.TLSKey = filepath.Join(dir, "ca.key")
	if f, _ := tlsFinding(&cfg); f.OK || f.Fix == "" {
		t.Errorf("the wrong key: %+v", f)
	}
}
