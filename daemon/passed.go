package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

const (
	firstPassed = 3  // descriptor of the first socket that systemd passes
	mostPassed  = 64 // sockets; more are no configuration but a fault
)

// passed returns the sockets that systemd passes; none without it. All have to be sockets that
// listen for streams: a descriptor that is something else may be the process's own, and a
// socket that does not listen would end the node with its first request.
func passed() (s sockets, err error) {
	count, err := passedCount()
	if err != nil {
		return s, err
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i := range count {
		if fault := listens(firstPassed + i); fault != "" {
			name := ""
			if i < len(names) && names[i] != "" {
				name = fmt.Sprintf(" (%s)", names[i])
			}
			return s, fmt.Errorf("socket %d of %d that systemd passes%s %s; use only ListenStream= without Accept= in picloud.socket", i+1, count, name, fault)
		}
	}
	all, err := activation.Listeners()
	if err != nil {
		return s, fmt.Errorf("take the sockets of systemd: %w", err)
	}
	for _, ln := range all {
		switch ln.(type) {
		case *net.TCPListener:
			s.tcp = append(s.tcp, ln)
		case *net.UnixListener:
			s.unix = append(s.unix, ln)
		default:
			return sockets{}, errors.Join(errors.New("take the sockets of systemd: one cannot be used"), s.close())
		}
	}
	return s, nil
}

// passedCount returns the number of sockets that are passed to this process.
func passedCount() (int, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	text := os.Getenv("LISTEN_FDS")
	count, err := strconv.Atoi(text)
	if err != nil || count < 0 || count > mostPassed {
		return 0, fmt.Errorf("the variable LISTEN_FDS is %q, and has to be the number of sockets that are passed, up to %d: start the node with systemd, or without that variable", text, mostPassed)
	}
	return count, nil
}

// listens returns why a descriptor is no socket that listens for streams; empty: it is one.
func listens(fd int) string {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case errors.Is(err, unix.EBADF):
		return "is closed"
	case err != nil:
		return "is no socket"
	}
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || kind != unix.SOCK_STREAM || family != unix.AF_INET && family != unix.AF_INET6 && family != unix.AF_UNIX {
		return "is neither a TCP nor a Unix stream socket"
	}
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
		return "does not listen"
	}
	return ""
}
