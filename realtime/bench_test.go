package realtime_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/realtime"
)

// emptyHistory is the history of an app in which nothing has happened, for
// benchmarks of live delivery alone.
type emptyHistory struct{ realtime.History }

func (emptyHistory) Head(string) (picloud.Position, error) { return picloud.Position{Epoch: 1}, nil }

// crowd is many client sockets that one goroutine reads.
type crowd struct {
	server []net.Conn
	epoll  int
	client []int
	got    atomic.Int64
	target atomic.Int64
	hit    chan struct{}
}

func newCrowd(b *testing.B, n int) *crowd {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	c := &crowd{hit: make(chan struct{}, 1)}
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		b.Fatal(err)
	}
	to := &unix.SockaddrInet4{Port: ln.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := unix.Connect(fd, to); err != nil {
			b.Fatal(err)
		}
		conn, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			b.Fatal(err)
		}
		c.client, c.server = append(c.client, fd), append(c.server, conn)
	}
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	wg.Go(func() { c.drain(ctx) })
	b.Cleanup(func() {
		stop()
		wg.Wait()
		for _, fd := range append(c.client, c.epoll) {
			_ = unix.Close(fd)
		}
	})
	return c
}

func (c *crowd) drain(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events, buf := make([]unix.EpollEvent, 256), make([]byte, 64<<10)
	for ctx.Err() == nil {
		n, _ := unix.EpollWait(c.epoll, events, 50)
		for i := range max(n, 0) {
			fd := int(events[i].Fd)
			k, _ := unix.Read(fd, buf)
			if k <= 0 {
				_ = unix.EpollCtl(c.epoll, unix.EPOLL_CTL_DEL, fd, nil)
				continue
			}
			if got, target := c.got.Add(int64(k)), c.target.Load(); got >= target && got-int64(k) < target {
				c.hit <- struct{}{}
			}
		}
	}
}

// expect waits until send has brought n more bytes to the clients.
func (c *crowd) expect(n int64, send func()) {
	c.target.Store(c.got.Load() + n)
	send()
	<-c.hit
}

func event(seq uint64) picloud.Event {
	return picloud.Event{
		Position: picloud.Position{Epoch: 1, Seq: 1_000_000_000 + seq}, App: "default", Topic: "t", Source: "local",
		Data: []byte(`{"temperature":21.5,"humidity":40.25,"room":"kitchen"}`), PublishedAt: time.Unix(1_700_000_000, 0).UTC(),
	}
}

// serve attaches a crowd to a hub and waits until every stream is open.
func serve(b *testing.B, c *crowd) *realtime.Hub {
	b.Helper()
	return serveTopics(b, c, func(int) []string { return []string{"t"} })
}

// serveTopics does the same with topics for each subscriber.
func serveTopics(b *testing.B, c *crowd, topics func(i int) []string) *realtime.Hub {
	b.Helper()
	hub, err := realtime.New(realtime.Config{History: emptyHistory{}, Shards: 1, MaxSubscribers: 1 << 20, Retry: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = hub.Run(ctx) })
	b.Cleanup(func() { stop(); wg.Wait() })
	for i, conn := range c.server {
		seat, err := hub.Reserve("default", "")
		if err != nil {
			b.Fatal(err)
		}
		seat.Attach(conn, realtime.Subscription{App: "default", Topics: topics(i)})
	}
	for seen := int64(-1); ; { // until the hello frames have all come
		now := c.got.Load()
		if now == seen && now > 0 {
			return hub
		}
		seen = now
		<-time.After(200 * time.Millisecond)
	}
}

// frameBytes is the size of each frame of event.
const frameBytes = int64(len("id: 0000000001.1000000000\ndata: {\"topic\":\"t\",\"data\":{\"temperature\":21.5,\"humidity\":40.25,\"room\":\"kitchen\"},\"published_at\":\"2023-11-14T22:13:20.000000Z\",\"source\":\"local\"}\n\n"))

// BenchmarkFanout delivers one event at a time, or sixteen in flight, to many
// subscribers; "bare" is a loop of non-blocking writes, one per delivery, over
// sockets of the same kind. One op is one round.
func BenchmarkFanout(b *testing.B) {
	for _, subscribers := range []int{100, 1000} {
		for _, flight := range []int{1, 16} {
			deliveries := float64(subscribers * flight)
			b.Run(fmt.Sprintf("hub/%d/inflight=%d", subscribers, flight), func(b *testing.B) {
				c := newCrowd(b, subscribers)
				hub := serve(b, c)
				events := make([]picloud.Event, flight)
				seq := uint64(0)
				b.ReportAllocs()
				for b.Loop() {
					for i := range events {
						seq++
						events[i] = event(seq)
					}
					c.expect(frameBytes*int64(deliveries), func() { hub.Broadcast(events) })
				}
				b.ReportMetric(deliveries*float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
			})
			b.Run(fmt.Sprintf("bare/%d/inflight=%d", subscribers, flight), func(b *testing.B) {
				c := newCrowd(b, subscribers)
				var fds []int
				for _, conn := range c.server {
					f, err := conn.(*net.TCPConn).File()
					if err != nil {
						b.Fatal(err)
					}
					_ = conn.Close()
					defer func() { _ = f.Close() }()
					fd := int(f.Fd())
					if err := unix.SetNonblock(fd, true); err != nil {
						b.Fatal(err)
					}
					fds = append(fds, fd)
				}
				frame := []byte(strings.Repeat("x", int(frameBytes)))
				for b.Loop() {
					c.expect(frameBytes*int64(deliveries), func() {
						for range flight {
							for _, fd := range fds {
								if n, err := unix.Write(fd, frame); n != len(frame) {
									b.Error(n, err)
								}
							}
						}
					})
				}
				b.ReportMetric(deliveries*float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
			})
		}
	}
}

func rss(b *testing.B) int64 {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

// BenchmarkIdleSubscriber reports what one more idle stream adds to the
// process. Buffers of the kernel are not in it. Run it alone, with -benchtime 1x:
// what an earlier run has left in the heap makes it look smaller.
func BenchmarkIdleSubscriber(b *testing.B) {
	const n = 5000
	before := rss(b)
	c := newCrowd(b, n)
	_ = serve(b, c)
	c.server = nil
	b.ReportMetric(float64(rss(b)-before)/n, "B/subscriber")
}
