package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/certificate"
	"github.com/picloud/picloud/daemon"
)

// certificateFinding is what the node says of its certificate.
func certificateFinding(t *api.TLS) finding {
	const renew = "Renew it ('picloud tls self-signed --renew' for one of this board's own authority); the node takes the new files by itself."
	names := strings.Join(t.Names, ", ")
	switch {
	case t.Fault != "" && len(t.Names) == 0:
		return finding{"certificate", false, "HTTPS refuses connections: " + plain(t.Fault), "Mend the files that http.tls_cert and http.tls_key name; the node takes them by itself."}
	case t.Fault != "":
		return finding{"certificate", false, fmt.Sprintf("the new files cannot be used, the certificate for %s stays until %s: %s", names, when(t.ExpiresAt), plain(t.Fault)), "Mend the files that http.tls_cert and http.tls_key name; the node takes them by itself."}
	case t.StartsAt.After(time.Now()):
		return finding{"certificate", false, fmt.Sprintf("for %s, valid only from %s on: browsers refuse it until then", names, when(t.StartsAt)), "Set the clock of the machine that issued it, or that of this one ('timedatectl'), and renew it."}
	case t.Expires && t.ExpiresAt.Before(time.Now()):
		return finding{"certificate", false, fmt.Sprintf("for %s, ended %s", names, when(t.ExpiresAt)), renew}
	case t.Expires:
		return finding{"certificate", false, fmt.Sprintf("for %s, ends soon: %s", names, when(t.ExpiresAt)), renew}
	}
	return finding{"certificate", true, fmt.Sprintf("for %s, until %s", names, when(t.ExpiresAt)), ""}
}

// tlsFinding checks the files of the certificate when no node answers.
func tlsFinding(cfg *daemon.Config) (f finding, ok bool) {
	if cfg.TLSCert == "" {
		return finding{}, false
	}
	var t api.TLS
	pair, err := certificate.Load(cfg.TLSCert, cfg.TLSKey)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return finding{"certificate", true, "unknown: its files are closed to this user", ""}, true
	case err != nil:
		t.Fault = err.Error()
	default:
		s := certificate.StatusOf(pair)
		t.Names, t.StartsAt, t.ExpiresAt, t.Expires = s.Names, api.At(s.NotBefore), api.At(s.NotAfter), certificate.Expires(s, time.Now())
	}
	return certificateFinding(&t), true
}
