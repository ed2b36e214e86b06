package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"github.com/picloud/picloud/certificate"
)

// hasTLS reports whether the node serves HTTPS, too.
func (c Config) hasTLS() bool { return c.TLSCert != "" && c.TLSKey != "" }

// newCertificate returns what keeps the node's certificate; nil: it serves no HTTPS. Files that
// cannot be used stop nothing else: they are told, and taken once they can.
func newCertificate(cfg Config, log *slog.Logger) *certificate.Keeper {
	if !cfg.hasTLS() {
		return nil
	}
	return certificate.New(certificate.Config{CertFile: cfg.TLSCert, KeyFile: cfg.TLSKey, Logger: log})
}

// listenTLS opens the port for HTTPS; nil: there is none.
func listenTLS(cfg Config) (net.Listener, error) {
	if !cfg.hasTLS() {
		return nil, nil
	}
	return listenTCP(cfg.TLSListen)
}

// startTLS starts what serves HTTPS, if that is configured.
func (m *machine) startTLS(ctx context.Context, cancel context.CancelCauseFunc, log *slog.Logger) []*part {
	if m.certificate == nil {
		return nil
	}
	log.Info("serving HTTPS", slog.String("listen", m.secure.Addr().String()))
	return []*part{
		start(ctx, cancel, "certificate", m.certificate.Run),
		start(ctx, cancel, "https", func(context.Context) error { return m.api.ServeTLS(m.secure) }),
	}
}

// checkTLS finds faults between the settings of TLS.
func (c *Config) checkTLS() []fault {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return []fault{{"http.tls_cert", errors.New("http.tls_cert and http.tls_key belong together: give both, or none")}}
	}
	if !c.hasTLS() {
		return nil
	}
	if err := checkAddress(c.TLSListen); err != nil {
		return []fault{{"http.tls_listen", err}}
	}
	_, port, _ := net.SplitHostPort(c.TLSListen) // it is sound
	if _, plain, err := net.SplitHostPort(c.Listen); err == nil && plain == port && port != "0" {
		return []fault{{"http.tls_listen", errors.New("HTTP has this port (listen): use another, such as 0.0.0.0:7443")}}
	}
	return nil
}
