package certificate_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/certificate"
	"github.com/picloud/picloud/logtest"
)

// issue makes an authority and a certificate in a new directory.
func issue(t *testing.T, hosts ...string) string {
	t.Helper()
	dir := t.TempDir()
	a, err := certificate.NewAuthority(dir, "pi", hosts, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Issue(hosts, time.Now()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// keep returns a Keeper of the pair in dir that follows it, and its log.
func keep(t *testing.T, dir string) (*certificate.Keeper, *logtest.Buffer) {
	t.Helper()
	log := new(logtest.Buffer)
	k := certificate.New(certificate.Config{
		CertFile: filepath.Join(dir, certificate.CertFile), KeyFile: filepath.Join(dir, certificate.KeyFile),
		Every: 5 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return k, log
}

// eventually polls, since files that change give no signal.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // as said
	}
}

// copyPair puts the pair of one directory in the place of another's, file by file.
func copyPair(t *testing.T, from, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		temporary := filepath.Join(to, name+".new")
		if err := os.WriteFile(temporary, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temporary, filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func shows(t *testing.T, k *certificate.Keeper, name string) bool {
	t.Helper()
	pair, err := k.Certificate(&tls.ClientHelloInfo{})
	return err == nil && pair.Leaf.DNSNames[0] == name
}

// OP-9: a pair that takes the place of another is taken, however that happens. A pair that is not
// sound changes nothing, is told once, and gives way to the next.
func TestPairIsFollowed(t *testing.T) {
	t.Parallel()
	first, second := issue(t, "first.local"), issue(t, "second.local")
	dir := t.TempDir()
	copyPair(t, first, dir, certificate.CertFile, certificate.KeyFile)
	k, log := keep(t, dir)
	if !shows(t, k, "first.local") {
		t.Fatal(k.Status())
	}

	copyPair(t, second, dir, certificate.CertFile, certificate.KeyFile)
	eventually(t, "the second pair", func() bool { return shows(t, k, "second.local") && k.Status().Fault == "" })

	copyPair(t, first, dir, certificate.CertFile) // with the key of the second
	eventually(t, "the fault", func() bool { return k.Status().Fault != "" && log.Count("the one before stays") == 1 })
	if !shows(t, k, "second.local") || k.Status().Names[0] != "second.local" {
		t.Errorf("with a key of another certificate: %+v", k.Status())
	}
	copyPair(t, first, dir, certificate.KeyFile)
	eventually(t, "the first pair", func() bool { return shows(t, k, "first.local") && k.Status().Fault == "" })

	if err := os.Remove(filepath.Join(dir, certificate.KeyFile)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the missing key", func() bool {
		return strings.Contains(k.Status().Fault, "no such file") && log.Count("the one before stays") == 2
	})
	if err := os.WriteFile(filepath.Join(dir, certificate.KeyFile), []byte("rubbish"), 0o600); err != nil { // in place
		t.Fatal(err)
	}
	eventually(t, "the rubbish", func() bool { return strings.Contains(k.Status().Fault, "failed to find any PEM data") })
	copyPair(t, second, dir, certificate.KeyFile, certificate.CertFile)
	eventually(t, "the second pair again", func() bool { return shows(t, k, "second.local") && k.Status().Fault == "" })
}

// Links are followed wherever on the way they change: of the files, as certbot has them, and of
// their directory, as Kubernetes has it.
func TestLinksAreFollowed(t *testing.T) {
	t.Parallel()
	first, second := issue(t, "first.local"), issue(t, "second.local")
	relink := func(t *testing.T, target, link string) {
		t.Helper()
		if err := os.Symlink(target, link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		link := func(to string) {
			for _, name := range []string{certificate.CertFile, certificate.KeyFile} {
				relink(t, filepath.Join(to, name), filepath.Join(dir, name))
			}
		}
		link(first)
		k, _ := keep(t, dir)
		link(second)
		eventually(t, "the second pair", func() bool { return shows(t, k, "second.local") })
	})
	t.Run("directory", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		relink(t, first, filepath.Join(dir, "..data"))
		for _, name := range []string{certificate.CertFile, certificate.KeyFile} {
			relink(t, filepath.Join("..data", name), filepath.Join(dir, name))
		}
		k, _ := keep(t, dir)
		relink(t, second, filepath.Join(dir, "..data"))
		eventually(t, "the second pair", func() bool { return shows(t, k, "second.local") })
	})
}

// Files that are not there yet are taken when they come.
func TestPairComesLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k, log := keep(t, dir)
	if _, err := k.Certificate(nil); err == nil || k.Status().Fault == "" || log.Count("TLS refuses connections") != 1 {
		t.Errorf("without files: %v, %+v", err, k.Status())
	}
	copyPair(t, issue(t, "pi.local"), dir, certificate.CertFile, certificate.KeyFile)
	eventually(t, "the pair", func() bool { return shows(t, k, "pi.local") })
	if h := k.Hosts(); len(h) != 1 || h[0] != "pi.local" {
		t.Errorf("%q", h)
	}
}

// What is not a file with a certificate is refused without waiting for it.
func TestFilesThatAreNone(t *testing.T) {
	t.Parallel()
	dir := issue(t, "pi.local")
	cert, key := filepath.Join(dir, certificate.CertFile), filepath.Join(dir, certificate.KeyFile)
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]string{
		"a directory":  {dir, key},
		"a device":     {cert, "/dev/zero"},
		"large":        {large, key},
		"the wrong":    {key, cert},
		"an authority": {filepath.Join(dir, certificate.AuthorityFile), filepath.Join(dir, certificate.AuthorityKeyFile)},
	} {
		if _, err := certificate.Load(pair[0], pair[1]); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// The end of a certificate is told in time: two weeks before, or for a short one in the last
// quarter of its life.
func TestExpires(t *testing.T) {
	t.Parallel()
	now := time.Now()
	day := 24 * time.Hour
	for _, c := range []struct {
		life, left time.Duration
		want       bool
	}{
		{90 * day, 15 * day, false},
		{90 * day, 13 * day, true},
		{90 * day, -day, true},
		{6 * day, 2 * day, false},
		{6 * day, day, true},
	} {
		s := certificate.Status{NotBefore: now.Add(c.left - c.life), NotAfter: now.Add(c.left)}
		if got := certificate.Expires(s, now); got != c.want {
			t.Errorf("of %v %v are left: %v", c.life, c.left, got)
		}
	}
}

// OP-9: a certificate that browsers do not take yet is told, once.
func TestCertificateThatIsNotValidYet(t *testing.T) {
	t.Parallel()
	dir, log := issue(t, "pi.local"), new(logtest.Buffer)
	cfg := certificate.Config{
		CertFile: filepath.Join(dir, certificate.CertFile), KeyFile: filepath.Join(dir, certificate.KeyFile),
		Now: func() time.Time { return time.Now().Add(-1000 * time.Hour) }, Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
	k := certificate.New(cfg)
	if !shows(t, k, "pi.local") || log.Count("is not valid yet") != 1 {
		t.Errorf("with a clock that is behind: %+v\n%s", k.Status(), log)
	}
	cfg.Now = nil
	log = new(logtest.Buffer)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	if certificate.New(cfg); log.Count("is not valid yet") != 0 {
		t.Errorf("with the right time:\n%s", log)
	}
}
