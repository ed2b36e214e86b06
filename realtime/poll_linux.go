package realtime

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller tells which sockets have become writable or were left by the other
// side. Its epoll descriptor is itself waited for by Go's runtime, so that no
// thread blocks in it.
type poller struct {
	fd   int
	file *os.File
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // makes os.NewFile hand it to the runtime
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &poller{fd: fd, file: os.NewFile(uintptr(fd), "epoll")}, nil
}

// add watches a socket. Its events carry fd and id.
func (p *poller) add(fd int, id int32) error {
	ev := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLOUT | unix.EPOLLET, Fd: int32(fd), Pad: id} // #nosec G115 -- descriptors are small
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// wait calls fn with events as they come, until the poller is closed.
func (p *poller) wait(fn func([]unix.EpollEvent)) {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return // closed
	}
	events := make([]unix.EpollEvent, 256)
	for {
		n := 0
		err := raw.Read(func(uintptr) bool {
			n, err = unix.EpollWait(p.fd, events, 0)
			return n > 0 || (err != nil && !errors.Is(err, unix.EINTR))
		})
		if err != nil || n <= 0 {
			return // closed
		}
		fn(events[:n])
	}
}

func (p *poller) close() { _ = p.file.Close() } // nothing is lost with it

// takeSocket takes a connection's descriptor away from Go's runtime: what is
// left is a number, and memory for thousands of them is small.
func takeSocket(conn net.Conn) (int, error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("take over connection: %T has no descriptor", conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("take over connection: %w", err)
	}
	fd := -1
	var derr error
	err = raw.Control(func(old uintptr) {
		fd, derr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3)
	})
	if err = errors.Join(err, derr); err != nil {
		return -1, fmt.Errorf("take over connection: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return -1, errors.Join(fmt.Errorf("take over connection: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// maxUnsent is about how much of a stream waits in the kernel for a slow reader, besides
// what is on its way. Without a bound the kernel takes 4 MiB (net.ipv4.tcp_wmem), on
// memory that no budget counts, and a reader of 40 kB/s sees events that are 100 s old
// instead of a gap.
const maxUnsent = 128 << 10

// tune sets what a stream over TCP wants: no delay, little that waits in the kernel, and a
// peer noticed that vanished while nothing was under way to it. It reports whether the
// socket is one of TCP.
func tune(fd int) (tcp bool) {
	if unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) != nil {
		return false
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 30)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 10)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3)
	return true
}
