package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/certificate"
	"github.com/picloud/picloud/daemon"
)

func (c *cli) tlsCommand() *cobra.Command {
	cmd := group("tls", "Certificates for HTTPS")
	cmd.AddCommand(c.selfSignedCommand())
	return cmd
}

// issued is what self-signed has made.
type issued struct {
	Names       []string `json:"names"`
	ExpiresAt   api.Time `json:"expires_at"`
	Authority   string   `json:"authority"`
	Fingerprint string   `json:"authority_sha256"`
	Cert        string   `json:"tls_cert"`
	Key         string   `json:"tls_key"`
}

func (c *cli) selfSignedCommand() *cobra.Command {
	var dir string
	var more []string
	var renew bool
	cmd := &cobra.Command{
		Use: "self-signed", Short: "Make a private authority and a certificate for this board", Args: exactly(0),
		Long: "Makes a certificate authority of this board's own and a certificate for its host name, NAME.local,\nlocalhost and its private addresses, and says how other devices come to trust it and which settings\nto write. The authority can issue only for these names, names in .local and private addresses, so\nthat a device that trusts it trusts it with nothing else. With --renew the same authority issues a\nnew certificate, which a running node takes by itself.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := daemon.Load(c.source(cmd))
			if err != nil {
				return err
			}
			if dir == "" {
				if _, err := os.Stat(cfg.Data); err != nil {
					return fmt.Errorf("%w; start the node once, or name a directory with --to", err)
				}
				dir = filepath.Join(cfg.Data, "tls")
			}
			made, err := selfSigned(cfg, dir, more, renew)
			if err != nil {
				return err
			}
			if c.json {
				return c.print(made)
			}
			if renew {
				c.printf("Made a certificate for %s, valid until %s, in %s.\nA node that uses it takes it within a second.\n", strings.Join(made.Names, ", "), made.ExpiresAt.Format(time.DateOnly), dir)
				return nil
			}
			c.explain(made, cfg.TLSListen)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "to", "", "directory for the files (default tls in the data directory)")
	f.StringArrayVar(&more, "name", nil, "another name or address that leads to this board; may be repeated")
	f.BoolVar(&renew, "renew", false, "make a new certificate with the authority that is there")
	return cmd
}

// firstClock is before any time that a board with a set clock can show.
var firstClock = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// selfSigned makes what the command promises in dir.
func selfSigned(cfg daemon.Config, dir string, more []string, renew bool) (*issued, error) {
	now := time.Now()
	if now.Before(firstClock) {
		return nil, fmt.Errorf("the clock of this board shows %s: set it first, since a certificate is valid for a time", now.Format(time.DateTime))
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", dir, err)
	}
	hosts, err := hostsOf(cfg, more)
	if err != nil {
		return nil, err
	}
	var authority *certificate.Authority
	if renew {
		authority, err = certificate.OpenAuthority(dir)
		hosts = unique(append(hosts, certificate.Issued(dir)...))
	} else {
		if err := makeLike(dir); err != nil {
			return nil, err
		}
		node, _, _ := strings.Cut(hosts[0], ".")
		authority, err = certificate.NewAuthority(dir, node, hosts, now)
	}
	switch {
	case errors.Is(err, certificate.ErrAuthorityExists):
		return nil, fmt.Errorf("%w, which devices may trust: --renew makes a new certificate with it; to begin anew, move its files away", err)
	case errors.Is(err, certificate.ErrNoAuthority):
		return nil, fmt.Errorf("%w: leave --renew out to make one", err)
	case err != nil:
		return nil, err
	}
	leaf, err := authority.Issue(hosts, now)
	if err != nil {
		return nil, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	return &issued{
		Names: hosts, ExpiresAt: api.At(leaf.NotAfter), Authority: at(certificate.AuthorityFile), Fingerprint: fingerprint(authority.Cert.Raw),
		Cert: at(certificate.CertFile), Key: at(certificate.KeyFile),
	}, nil
}

// makeLike makes a directory that belongs to whom its parent belongs to, where that can be.
func makeLike(dir string) error {
	if err := os.Mkdir(dir, 0o750); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil
		}
		return err
	}
	if os.Geteuid() == 0 {
		return certificate.Inherit(dir)
	}
	return nil
}

// hostsOf returns the names and addresses for a certificate of this board, the first of which is
// the one to use.
func hostsOf(cfg daemon.Config, more []string) ([]string, error) {
	hosts := cfg.OwnHosts()
	for _, name := range more {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if _, err := netip.ParseAddr(name); err != nil && !daemon.IsHostName(strings.TrimPrefix(name, "*.")) {
			return nil, fmt.Errorf("%w: --name %q: use a name such as pi.example.org or an address, without scheme and port", errUsage, name)
		}
		hosts = append(hosts, name)
	}
	return unique(hosts), nil
}

// unique drops what is there twice, and keeps the order.
func unique(list []string) []string {
	var out []string
	for _, one := range list {
		if !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	return out
}

// fingerprint returns the SHA-256 of a certificate as devices show it.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

// explain says what to do with a new certificate.
func (c *cli) explain(made *issued, listen string) {
	_, port, _ := net.SplitHostPort(listen) // was checked
	c.printf(`Made a certificate authority of this board and a certificate for
%s,
valid until %s.

1. Write this into /etc/picloud/picloud.toml, and restart the node ('sudo systemctl restart picloud'):

   [http]
   tls_cert = %q
   tls_key = %q

2. Let each device trust the authority. Copy its file to the device, open it there, and compare the
   SHA-256 fingerprint before you agree:

   %s
   %s

   Android          Settings > Security > Encryption & credentials > Install a certificate > CA certificate
   iPhone, iPad     open the file, Settings > Profile Downloaded > Install, then
                    Settings > General > About > Certificate Trust Settings: switch it on
   macOS            sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ca.crt
   Windows          certutil -addstore -f Root ca.crt    (as administrator)
   Debian, Ubuntu   sudo cp ca.crt /usr/local/share/ca-certificates/picloud.crt; sudo update-ca-certificates
   Chromium, Linux  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n PiCloud -i ca.crt    (package libnss3-tools)
   Firefox          Settings > Privacy & Security > View Certificates > Authorities > Import
   curl             curl --cacert ca.crt https://...
   picloud          SSL_CERT_FILE=ca.crt picloud --url https://...

3. Open https://%s:%s/

%s stays on this board: with it certificates for this board are forged.
Before the certificate ends, 'picloud doctor' says so; 'picloud tls self-signed --renew' makes the next one.
`, strings.Join(made.Names, ", "), made.ExpiresAt.Format(time.DateOnly), made.Cert, made.Key, made.Authority, made.Fingerprint, made.Names[0], port,
		filepath.Join(filepath.Dir(made.Authority), certificate.AuthorityKeyFile))
}
