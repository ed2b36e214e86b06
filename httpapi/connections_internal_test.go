package httpapi

import (
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

// SR-6: whatever connections come, go and get busy, they are counted exactly, those
// with a request stay, and nothing is left of them in the end.
func TestConnectionsAreCounted(t *testing.T) {
	t.Parallel()
	set := metrics.NewSet()
	proxy := netip.MustParseAddr("127.0.0.9")
	streams := 0
	c := &connections{
		total: 12, perAddress: 6, perLoopback: 6, files: 20, log: slog.New(slog.DiscardHandler), peers: map[netip.Prefix]map[*connection]struct{}{},
		streams: func() int { return streams }, trusted: func(a netip.Addr) bool { return a == proxy },
		refusedAddress: set.NewCounter("a"), refusedTotal: set.NewCounter("b"), evicted: set.NewCounter("c"),
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	random := rand.New(rand.NewPCG(1, 2))
	var open []*connection
	refused := 0
	for range 2000 {
		switch {
		case random.IntN(3) > 0:
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(7+random.IntN(3)))}}
			peer, err := d.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			conn, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if n := c.admit(conn.(*net.TCPConn), false); n != nil {
				open = append(open, n)
			} else {
				refused++
			}
			_ = peer.Close()
		case len(open) > 0:
			i := random.IntN(len(open))
			if n := open[i]; random.IntN(2) == 0 && n.begin() {
				if random.IntN(2) == 0 {
					n.wait()
				}
				break
			}
			_ = open[i].Close()
			_ = open[i].Close() // as the server and the hub may
			open = append(open[:i], open[i+1:]...)
		}
		streams = random.IntN(3)
		counted := 0
		for peer, list := range c.peers {
			if counted += len(list); len(list) > c.perAddress || len(list) == 0 || peer.Contains(proxy) {
				t.Fatalf("%v has %d", peer, len(list))
			}
		}
		alive := 0
		for _, n := range open {
			if !n.closed.Load() {
				alive++
			} else if n.waits.Load() == busy {
				t.Fatal("a connection with a request was closed")
			}
		}
		if c.open != alive || c.open > c.total || counted > alive {
			t.Fatalf("%d counted, %d with addresses, %d alive", c.open, counted, alive)
		}
	}
	for _, n := range open {
		_ = n.Close()
	}
	if c.open != 0 || len(c.peers) != 0 {
		t.Errorf("%d connections and %d addresses are left", c.open, len(c.peers))
	}
	if refused == 0 || c.evicted.Get() == 0 || c.refusedAddress.Get()+c.refusedTotal.Get() != uint64(refused) {
		t.Errorf("%d refused, %d of addresses, %d in total, %d evicted", refused, c.refusedAddress.Get(), c.refusedTotal.Get(), c.evicted.Get())
	}
}
