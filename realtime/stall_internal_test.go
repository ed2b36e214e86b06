package realtime

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// RT-7: a reader that takes little is not cut. The kernel reports a socket as writable only
// when a third of its buffer is free, which a slow reader may not reach within the write
// deadline.
func TestSlowReaderIsNotCut(t *testing.T) {
	t.Parallel()
	s, sub, reader := stalling(t)
	const page = 64 << 10
	for !sub.blocked {
		s.write(sub, make([]byte, page))
	}
	buf := make([]byte, page)
	s.inspect()
	times := 0
	for last := unsent(t, sub.fd); last > page; times++ {
		for unsent(t, sub.fd) >= last {
			if _, err := reader.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
		last = unsent(t, sub.fd)
		s.up += s.hub.cfg.WriteTimeout
		if s.inspect(); sub.state == stateClosed {
			t.Fatalf("cut with %d bytes to go, of which some were taken within the deadline", last)
		}
	}
	if times < 3 {
		t.Fatalf("the buffer was empty after %d reads: the test does not test", times)
	}
	for range 100 { // what is on its way may still arrive
		if s.up += s.hub.cfg.WriteTimeout; sub.state == stateClosed {
			return
		}
		s.inspect()
	}
	t.Error("a reader that takes nothing was not cut")
}

// RT-8: a peer that vanishes takes nothing of what is under way to it, and is cut, also while
// there is room for more.
func TestVanishedPeerIsCut(t *testing.T) {
	t.Parallel()
	s, sub, _ := stalling(t)
	s.write(sub, make([]byte, 640<<10))
	if sub.blocked || unsent(t, sub.fd) == 0 {
		t.Fatalf("blocked: %t, %d bytes to go: the test does not test", sub.blocked, unsent(t, sub.fd))
	}
	s.inspect()
	if sub.state == stateClosed {
		t.Fatal("cut at once")
	}
	for range 2 { // what has arrived counts once
		s.up += s.hub.cfg.WriteTimeout
		s.inspect()
	}
	if sub.state != stateClosed {
		t.Error("a peer that takes nothing was not cut")
	}
}

// stalling returns a shard, whose time the test sets, and a subscriber with a large buffer in the kernel.
func stalling(t *testing.T) (*shard, *subscriber, net.Conn) {
	t.Helper()
	hub, err := New(Config{Shards: 1, WriteTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s := hub.shards[0]
	t.Cleanup(s.poller.close)
	socket, reader := tcpPair(t)
	if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20); err != nil {
		t.Fatal(err)
	}
	seat, err := hub.Reserve("a", "")
	if err != nil {
		t.Fatal(err)
	}
	sub := newSubscriber(s, seat, socket, nil, &Subscription{App: "a"})
	sub.app, sub.state = &app{}, stateLive
	s.subscribers, s.byFD[socket] = append(s.subscribers, sub), sub
	sub.tcp = true
	s.begin()
	return s, sub, reader
}

// unsent returns the bytes that the other end has not taken.
func unsent(t *testing.T, socket int) int {
	t.Helper()
	n, err := unix.IoctlGetInt(socket, unix.SIOCOUTQ)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// tcpPair returns a socket as streams have it, and its other end.
func tcpPair(t *testing.T) (int, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	reader, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fd, err := takeSocket(conn)
	if err != nil {
		t.Fatal(err)
	}
	return fd, reader
}
