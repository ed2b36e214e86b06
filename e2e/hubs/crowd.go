package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// mark stands once in every event and in nothing else that servers send.
const mark = '~'

// crowd is subscribers and publishers in one thread: every socket in one epoll,
// so that the load costs as little as it can.
type crowd struct {
	s           server
	epoll       int
	subscribers int
	publishers  []*publisher
	sockets     []int
	byFD        map[int32]*publisher
	events      []unix.EpollEvent
	buf         []byte

	sent      int
	delivered int
	latencies *latencies // nil: not measured
	tails     map[int32][]byte
}

// publisher is one connection that publishes one event at a time.
type publisher struct {
	fd   int
	busy bool
}

func newCrowd(s server, subscribers, publishers int) (*crowd, error) {
	epoll, err := unix.EpollCreate1(0)
	if err != nil {
		return nil, err
	}
	c := &crowd{
		s: s, epoll: epoll, subscribers: subscribers, byFD: map[int32]*publisher{},
		events: make([]unix.EpollEvent, 1024), buf: make([]byte, 256<<10), tails: map[int32][]byte{},
	}
	for range subscribers {
		fd, err := dial(s.addr())
		if err != nil {
			return nil, err
		}
		if err := subscribe(fd, s); err != nil {
			return nil, err
		}
		if err := c.watch(fd); err != nil {
			return nil, err
		}
	}
	for range publishers {
		fd, err := dial(s.addr())
		if err != nil {
			return nil, err
		}
		p := &publisher{fd: fd}
		c.publishers, c.byFD[int32(fd)] = append(c.publishers, p), p
		if err := c.watch(fd); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func dial(addr *net.TCPAddr) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	to := &unix.SockaddrInet4{Port: addr.Port}
	copy(to.Addr[:], addr.IP.To4())
	return fd, unix.Connect(fd, to)
}

// subscribe asks for the stream and waits until it has begun.
func subscribe(fd int, s server) error {
	if _, err := unix.Write(fd, []byte(s.subscription())); err != nil {
		return err
	}
	var head []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(head, []byte(s.opened())) {
		n, err := unix.Read(fd, buf)
		if err != nil || n == 0 {
			return fmt.Errorf("%s ends a stream: %w after %q", s.name(), err, head)
		}
		head = append(head, buf[:n]...)
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		return fmt.Errorf("%s refuses a subscriber: %q", s.name(), head)
	}
	return nil
}

func (c *crowd) watch(fd int) error {
	c.sockets = append(c.sockets, fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	return unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (c *crowd) close() {
	for _, fd := range c.sockets {
		_ = unix.Close(fd)
	}
	_ = unix.Close(c.epoll)
}

// publish sends the next event over an idle connection, if there is one.
func (c *crowd) publish() (bool, error) {
	for _, p := range c.publishers {
		if p.busy {
			continue
		}
		c.sent++
		body := fmt.Sprintf(`{"n":%d,"celsius":21.5,"humidity":40,"pad":"xxxxxxxxxxxxxxxxxxx","at":"%c%019d"}`, c.sent, mark, time.Now().UnixNano())
		request := c.s.publication() + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
		if _, err := unix.Write(p.fd, []byte(request)); err != nil {
			return false, fmt.Errorf("publish: %w", err)
		}
		p.busy = true
		return true, nil
	}
	return false, nil
}

// turn waits for something to arrive, up to a limit, and takes it.
func (c *crowd) turn(limit time.Duration) error {
	n, err := unix.EpollWait(c.epoll, c.events, int(limit.Milliseconds()))
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range c.events[:n] {
		if err := c.take(c.events[i].Fd); err != nil {
			return err
		}
	}
	return nil
}

func (c *crowd) take(fd int32) error {
	n, err := unix.Read(int(fd), c.buf)
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	if err != nil || n == 0 {
		return fmt.Errorf("%s has closed a connection: %w", c.s.name(), err)
	}
	b := c.buf[:n]
	if p := c.byFD[fd]; p != nil {
		if bytes.HasPrefix(b, []byte("HTTP/1.1 20")) {
			p.busy = false
		} else if bytes.HasPrefix(b, []byte("HTTP/1.1 ")) {
			return fmt.Errorf("%s refuses an event: %q", c.s.name(), b)
		}
		return nil
	}
	c.delivered += bytes.Count(b, []byte{mark})
	if c.latencies != nil {
		c.tails[fd] = c.latencies.read(append(c.tails[fd], b...))
	}
	return nil
}

// behind is how many events are not everywhere yet.
func (c *crowd) behind() int { return c.sent - c.delivered/c.subscribers }

// settle waits until every event is everywhere and every publisher idle.
func (c *crowd) settle() error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		busy := c.delivered < c.sent*c.subscribers
		for _, p := range c.publishers {
			busy = busy || p.busy
		}
		if !busy {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %d of %d deliveries came", c.s.name(), c.delivered, c.sent*c.subscribers)
		}
		if err := c.turn(100 * time.Millisecond); err != nil {
			return err
		}
	}
}
