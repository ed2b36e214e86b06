package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud/keyfile"
)

// Config configures a Keeper.
type Config struct {
	CertFile, KeyFile string        // PEM; the first may hold a chain, the certificate of the node first
	Every             time.Duration // between two looks at the files; default 1 s
	Now               func() time.Time
	Logger            *slog.Logger // nil: discard
}

// Keeper holds the certificate of a pair of files, and replaces it when the files are replaced
// by a sound pair. Its methods may be called concurrently.
type Keeper struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex // guards what follows
	current *tls.Certificate
	read    pairState // what the files were when they were last read
	fault   error     // of that; nil: current is of them
	logged  bool      // the fault has been
	warned  bool      // the end of current has been
	early   bool      // that current begins later has been
}

// Status says what a Keeper holds.
type Status struct {
	Names     []string // DNS names and IP addresses; none: there is no certificate
	NotBefore time.Time
	NotAfter  time.Time
	Fault     string // why the files are not used, or not any more; empty: they are
}

// errNone is the fault of a handshake without a certificate.
var errNone = errors.New("there is no certificate that can be used")

// New returns a Keeper that has read the files once. A fault of theirs is logged and held: they
// may become sound while the node runs.
func New(cfg Config) *Keeper {
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{cfg: cfg, log: cfg.Logger.With(slog.String("component", "certificate"))}
	k.look()
	k.look() // a fault that lasts is logged
	return k
}

// Run follows the files until ctx ends. It looks at them instead of watching their directories,
// since a link in a parent directory may be replaced, too.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(k.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.look()
		case <-ctx.Done():
			return nil
		}
	}
}

// look reads files that have changed. While certificate and key are replaced one after the
// other the pair does not match for a moment: a fault is logged when the next look still finds it.
func (k *Keeper) look() {
	now := statePair(k.cfg.CertFile, k.cfg.KeyFile)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case now != k.read || k.current == nil && k.fault == nil:
		k.load(now)
	case k.fault != nil && !k.logged:
		k.logged = true
		if k.current == nil {
			k.log.Error("the certificate cannot be used: TLS refuses connections", slog.Any("err", k.fault))
		} else {
			k.log.Error("the new certificate cannot be used: the one before stays", slog.Any("err", k.fault))
		}
	}
	if s := k.status(); !k.early && k.current != nil && k.cfg.Now().Before(s.NotBefore) {
		k.early = true
		k.log.Warn("the certificate is not valid yet, or the clock is behind", slog.Time("not_before", s.NotBefore), slog.Any("names", s.Names))
	}
	if s := k.status(); !k.warned && k.current != nil && Expires(s, k.cfg.Now()) {
		k.warned = true
		k.log.Warn("the certificate ends soon, or has ended", slog.Time("not_after", s.NotAfter), slog.Any("names", s.Names))
	}
}

// load reads the files, which are as state says. The caller holds mu.
func (k *Keeper) load(state pairState) {
	pair, err := Load(k.cfg.CertFile, k.cfg.KeyFile)
	k.read, k.logged = state, false
	if k.fault = err; err != nil {
		return
	}
	k.current, k.warned, k.early = pair, false, false
	k.log.Info("certificate loaded", slog.Any("names", names(pair.Leaf)), slog.Time("not_after", pair.Leaf.NotAfter))
}

// Certificate returns the certificate for a handshake.
func (k *Keeper) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil {
		return nil, errNone
	}
	return k.current, nil
}

// Hosts returns the DNS names of the certificate in lower case.
func (k *Keeper) Hosts() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil {
		return nil
	}
	hosts := slices.Clone(k.current.Leaf.DNSNames)
	for i := range hosts {
		hosts[i] = strings.ToLower(hosts[i])
	}
	return hosts
}

// Status says what the Keeper holds.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status()
}

func (k *Keeper) status() Status {
	var s Status
	if k.current != nil {
		s = StatusOf(k.current)
	}
	if k.fault != nil {
		s.Fault = k.fault.Error()
	}
	return s
}

// StatusOf is the Status of a certificate that can be used.
func StatusOf(pair *tls.Certificate) Status {
	return Status{Names: names(pair.Leaf), NotBefore: pair.Leaf.NotBefore, NotAfter: pair.Leaf.NotAfter}
}

// Expires reports whether a certificate has ended or ends soon: within two weeks, or within the
// last quarter of its life when that is shorter.
func Expires(s Status, now time.Time) bool {
	soon := min(14*24*time.Hour, s.NotAfter.Sub(s.NotBefore)/4)
	return !now.Before(s.NotAfter.Add(-soon))
}

// Load reads a pair of files for a server.
func Load(certFile, keyFile string) (*tls.Certificate, error) {
	pair, err := loadPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	if len(pair.Leaf.DNSNames)+len(pair.Leaf.IPAddresses) == 0 {
		return nil, fmt.Errorf("%s has no subject alternative names, without which browsers refuse it", certFile)
	}
	return pair, nil
}

func loadPair(certFile, keyFile string) (*tls.Certificate, error) {
	cert, err := keyfile.Read(certFile, maxFile)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	key, err := keyfile.Read(keyFile, maxFile)
	if err != nil {
		return nil, fmt.Errorf("read the key of the certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", certFile, keyFile, err)
	}
	return &pair, nil
}
