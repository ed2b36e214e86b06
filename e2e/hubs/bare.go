package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// bare is the floor: one loop over epoll, one write for each delivery, no
// checks, no disk, no memory of anything.
type bare struct{ *process }

func startBare(core int) (server, error) {
	dir, err := os.MkdirTemp("", "hubs-")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := run("bare", core, port, dir, []string{"GOMAXPROCS=1"}, self, "-bare", strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	return &bare{p}, nil
}

func (*bare) subscription() string { return "GET / HTTP/1.1\r\n\r\n" }
func (*bare) opened() string       { return "\r\n\r\n" }
func (*bare) publication() string  { return "POST / HTTP/1.1\r\n" }

// serveBare is the bare server's process.
func serveBare(port int) error {
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(ln, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := unix.Listen(ln, 4096); err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, ln, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(ln)}); err != nil {
		return err
	}
	var subscribers []int
	events, buf := make([]unix.EpollEvent, 256), make([]byte, 64<<10)
	for {
		n, err := unix.EpollWait(epoll, events, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		for _, ev := range events[:n] {
			fd := int(ev.Fd)
			if fd == ln {
				conn, _, err := unix.Accept4(ln, unix.SOCK_NONBLOCK)
				if err != nil {
					continue
				}
				_ = unix.SetsockoptInt(conn, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
				if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, conn, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(conn)}); err != nil {
					return err
				}
				continue
			}
			k, err := unix.Read(fd, buf)
			if err != nil || k == 0 {
				_ = unix.Close(fd)
				continue
			}
			if bytes.HasPrefix(buf[:k], []byte("GET ")) {
				subscribers = append(subscribers, fd)
				_, _ = unix.Write(fd, []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"))
				continue
			}
			_, body, _ := bytes.Cut(buf[:k], []byte("\r\n\r\n"))
			frame := fmt.Appendf(nil, "id: 1\ndata: %s\n\n", body)
			for _, s := range subscribers {
				_, _ = unix.Write(s, frame)
			}
			_, _ = unix.Write(fd, []byte("HTTP/1.1 204 No Content\r\n\r\n"))
		}
	}
}
