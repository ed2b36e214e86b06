package httpapi

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// waits reports whether the sender of a request still waits for the answer: it has not
// closed its side of the connection. A client that closes that side alone, and reads on,
// counts as gone, as with most servers.
func (r *request) waits() bool {
	var conn syscall.Conn
	if n := counted(r.Conn()); n != nil {
		conn = n
	} else if c, ok := r.Conn().(syscall.Conn); ok {
		conn = c
	} else {
		return true
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false // it is closed
	}
	waits := true
	err = raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} // #nosec G115 -- a descriptor
		if n, err := unix.Poll(poll, 0); err == nil && n > 0 {
			waits = poll[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) == 0
		}
	})
	return err == nil && waits
}
