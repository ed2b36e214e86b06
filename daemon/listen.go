package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// listenTCP opens the HTTP port.
func listenTCP(addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr) //nolint:noctx // opening a port does not wait
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s: another program has this port; stop it, or choose another with --listen", addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen on %s: not permitted; choose a port above 1023 with --listen", addr)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return ln, nil
}

// listenUnix opens the operator's socket. One that a dead process left is
// replaced; one that answers belongs to another node.
func listenUnix(path, group string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { // #nosec G301 -- group members must get through
		return nil, fmt.Errorf("make the socket's directory: %w", err)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("socket %s: there is something else; remove it, or choose another path with --socket", path)
		}
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
