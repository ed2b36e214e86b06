package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/certificate"
)

// OP-9: the names for the Host header follow the host name, the certificate and the
// configuration while the node runs.
func TestHostNamesFollow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	issue := func(hosts ...string) {
		t.Helper()
		a, err := certificate.NewAuthority(dir, "pi", hosts, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Issue(hosts, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	issue("Cert.Example.org", "10.0.0.1")
	keeper := certificate.New(certificate.Config{CertFile: filepath.Join(dir, certificate.CertFile), KeyFile: filepath.Join(dir, certificate.KeyFile)})
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Name: "Garden shed", AllowedHosts: []string{"cloud.example.org"}}
		machine, fault := "Pi.Lan", error(nil)
		h := &hostNames{config: func() Config { return cfg }, machine: func() (string, error) { return machine, fault }, certificate: keeper}
		expect := func(known, unknown []string) {
			t.Helper()
			names := h.list()
			for _, name := range known {
				if !slices.Contains(names, name) {
					t.Errorf("%s is missing in %q", name, names)
				}
			}
			for _, name := range unknown {
				if slices.Contains(names, name) {
					t.Errorf("%s is in %q", name, names)
				}
			}
		}
		expect([]string{"pi", "pi.lan", "pi.local", "pi-2.local", "cert.example.org", "cloud.example.org"}, []string{"garden", "garden shed", "10.0.0.1", "pi-2", ""})
		machine, cfg = "greenhouse", Config{Name: "Shed", AllowedHosts: []string{"*.example.org"}}
		time.Sleep(hostsLast) //nolint:forbidigo // of the bubble
		expect([]string{"greenhouse", "greenhouse.local", "pi.local", "shed", "shed.local", "*.example.org"}, []string{"cloud.example.org"})
		fault = errors.New("none")
		time.Sleep(hostsLast) //nolint:forbidigo // of the bubble
		expect([]string{"shed", "greenhouse"}, []string{"", ".local"})
		fault = nil
		for i := range hostsKept {
			machine = fmt.Sprint("host", i)
			time.Sleep(hostsLast) //nolint:forbidigo // of the bubble
			expect([]string{machine}, nil)
		}
		expect([]string{"host0"}, []string{"greenhouse", "pi"})
	})
}

// A certificate is for the names and the private addresses of the machine.
func TestOwnHosts(t *testing.T) {
	t.Parallel()
	machine, err := os.Hostname()
	if err != nil || !IsHostName(machine) {
		t.Fatalf("%q, %v", machine, err)
	}
	hosts := Config{Name: "garden"}.OwnHosts()
	for _, want := range []string{machine, machine + ".local", "garden.local", "localhost", "127.0.0.1", "::1"} {
		if !slices.Contains(hosts, want) {
			t.Errorf("%s is missing in %q", want, hosts)
		}
	}
}
