package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxSocketPath is how many bytes the kernel takes as the path of a Unix socket.
const maxSocketPath = 107

// checkAddress returns nil for an address and a port that can be listened on.
func checkAddress(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err == nil && port == "" {
		err = errors.New("the port is missing")
	}
	if err == nil {
		_, err = net.LookupPort("tcp", port) //nolint:noctx // looks into a file
	}
	if _, ip := netip.ParseAddr(host); err == nil && host != "" && ip != nil && (!IsHostName(strings.ToLower(strings.TrimSuffix(host, "."))) || strings.Trim(host, "0123456789.") == "") {
		err = errors.New("that is no address")
	}
	if err != nil {
		return fmt.Errorf("%q: use an address and a port, such as 0.0.0.0:7420 or [::]:7420", text)
	}
	return nil
}

// sockets are where a node is reached.
type sockets struct {
	tcp  []net.Listener // at least one
	unix []net.Listener // at least one, for the operator
}

// listen takes the sockets that systemd passes, and opens what is missing. The first
// node of the process has those of systemd.
//
// A port that systemd holds stays open whatever the node does with it. Where the setting
// listen says something else the node therefore does not start: it would either be
// reached where it should not, or not where it should.
func listen(cfg Config) (sockets, error) {
	s, err := passed()
	if err == nil && len(s.tcp) == 0 {
		var ln net.Listener
		if ln, err = listenTCP(cfg.Listen); err == nil {
			s.tcp = append(s.tcp, ln)
		}
	} else if err == nil {
		err = agree(cfg.Listen, s.tcp)
	}
	path := cfg.SocketPath()
	if err == nil && !slices.ContainsFunc(s.unix, func(ln net.Listener) bool { return ln.Addr().String() == path }) {
		var ln net.Listener
		if ln, err = listenUnix(path, cfg.OperatorGroup); err == nil {
			s.unix = append(s.unix, ln)
		}
	}
	if err != nil {
		return sockets{}, errors.Join(err, s.close())
	}
	return s, nil
}

func (s sockets) close() error {
	var faults []error
	for _, ln := range slices.Concat(s.tcp, s.unix) {
		faults = append(faults, ln.Close())
	}
	return errors.Join(faults...)
}

// agree returns an error when the setting listen names an address at which systemd does
// not listen. At its default it names none.
func agree(setting string, held []net.Listener) error {
	if setting == DefaultConfig().Listen {
		return nil
	}
	want, err := net.ResolveTCPAddr("tcp", setting)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", setting, err)
	}
	for _, ln := range held {
		have, ok := ln.Addr().(*net.TCPAddr)
		if ok && have.Port == want.Port && (have.IP.Equal(want.IP) || have.IP.IsUnspecified() && (want.IP == nil || want.IP.IsUnspecified())) {
			return nil
		}
	}
	return fmt.Errorf("the setting listen is %s, but picloud.socket listens on %s: remove the setting, and set the address with 'systemctl edit picloud.socket' (see docs/systemd.md)", setting, held[0].Addr())
}

// listenTCP opens the HTTP port.
func listenTCP(addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr) //nolint:noctx // opening a port does not wait
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s: another program has this port; stop it, or choose another with --listen", addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen on %s: not permitted; choose a port above 1023 with --listen", addr)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", addr, cmp.Or(noAddress(err), err))
	}
	return ln, nil
}

// listenUnix opens the operator's socket. One that a dead process left is
// replaced; one that answers belongs to another node.
func listenUnix(path, group string) (net.Listener, error) {
	if err := socketPlace(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { // #nosec G301 -- group members must get through
		return nil, fmt.Errorf("make the socket's directory: %w", err)
	}
	if _, err := os.Lstat(path); err == nil {
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil { //nolint:noctx // has a timeout
			_ = conn.Close() // only knocked
			return nil, fmt.Errorf("socket %s: another picloud answers there; stop it, or choose another path with --socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the old socket: %w", err)
		}
	}
	ln, err := net.Listen("unix", path) //nolint:noctx // opening a socket does not wait
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil { // #nosec G302 -- the group is who it is for
		return nil, errors.Join(fmt.Errorf("open the socket to its group: %w", err), ln.Close())
	}
	if g, err := user.LookupGroup(group); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil {
			_ = os.Chown(path, -1, gid) // without it root and the daemon's user remain
		}
	}
	return ln, nil
}
