package httpapi

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/budget"
)

const (
	perConnection  = 32 << 10 // memory of a connection with a request, kernel's buffers included
	mostByDefault  = 4096     // connections, however much memory there is
	leastByDefault = 64       // connections, however little there is
	keepFiles      = 128      // descriptors that neither connections nor streams get: those of the socket, the journal, workers
	logRefusals    = time.Minute
)

// connections bounds the TCP connections, in total and of one address, and shares
// them fairly: when there is no room, a newcomer takes the place of a connection that
// waits for a request, of the address that has the most. Connections of trusted
// proxies count in total only. A stream is a connection no more: the hub bounds those.
// Its methods may be called concurrently.
type connections struct {
	total, perAddress, perLoopback int

	files   int        // descriptors for connections and streams
	streams func() int // that there are now
	trusted func(netip.Addr) bool
	log     *slog.Logger

	refusedAddress, refusedTotal, evicted *metrics.Counter

	mu     sync.Mutex // guards what follows
	open   int
	peers  map[netip.Prefix]map[*connection]struct{} // none is empty
	logged time.Time
}

// connection is a TCP connection that counts until it is closed.
type connection struct {
	*net.TCPConn

	all    *connections
	peer   netip.Prefix // invalid: of a trusted proxy
	closed atomic.Bool

	// waits is when the connection began to wait for a whole request, in microseconds;
	// busy while one is answered; gone when the connection was closed for a newcomer.
	waits atomic.Int64
}

const (
	busy = math.MaxInt64
	gone = math.MaxInt64 - 1
)

func newConnections(cfg *Config, log *slog.Logger, trusted func(netip.Addr) bool) *connections {
	c := &connections{
		total: cfg.MaxConnections, perAddress: cfg.MaxPerAddress, files: descriptors() - keepFiles, log: log, trusted: trusted,
		streams: func() int { return cfg.Hub.Stats().Subscribers }, peers: map[netip.Prefix]map[*connection]struct{}{},
	}
	if c.total <= 0 {
		c.total = defaultConnections()
	}
	c.perLoopback = c.total * 3 / 4
	if c.perAddress <= 0 {
		c.perAddress = max(16, c.total/4)
	} else {
		c.perLoopback = c.perAddress
	}
	counter := func(name string) *metrics.Counter { return cfg.Metrics.GetOrCreateCounter(name) }
	c.refusedAddress = counter(`picloud_http_connections_refused_total{limit="address"}`)
	c.refusedTotal = counter(`picloud_http_connections_refused_total{limit="total"}`)
	c.evicted = counter(`picloud_http_connections_evicted_total`)
	cfg.Metrics.GetOrCreateGauge(`picloud_http_connections`, func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return float64(c.open)
	})
	return c
}

// defaultConnections returns how many connections fit: an eighth of the board's
// memory, and half of the descriptors this process may have.
func defaultConnections() int {
	n := min(mostByDefault, budget.Memory()/8/perConnection)
	return max(min(int(n), (descriptors()-keepFiles)/2), leastByDefault) // #nosec G115 -- bounded
}

// descriptors returns how many descriptors this process may have.
func descriptors() int {
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) != nil {
		return 1024
	}
	return int(min(files.Cur, math.MaxInt32)) // #nosec G115 -- bounded
}

// limitedListener accepts the TCP connections that have room.
type limitedListener struct {
	net.Listener

	all    *connections
	silent bool // refuses without an answer: the peer expects TLS
}

// Accept waits for the next connection that has room. Others are refused.
func (l limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		tcp, ok := conn.(*net.TCPConn)
		if err != nil || !ok {
			return conn, err
		}
		if c := l.all.admit(tcp, l.silent); c != nil {
			return c, nil
		}
	}
}

// admit returns a connection that counts, or nil after having refused it, with an answer
// unless silent.
func (c *connections) admit(tcp *net.TCPConn, silent bool) *connection {
	n := &connection{TCPConn: tcp, all: c}
	n.wait()
	limit := c.perAddress
	if remote, ok := tcp.RemoteAddr().(*net.TCPAddr); ok {
		if addr := remote.AddrPort().Addr().Unmap(); !c.trusted(addr) {
			n.peer = budget.PeerOf(addr)
		}
		if remote.IP.IsLoopback() {
			limit = c.perLoopback
		}
	}
	room := min(c.total, max(c.files, leastByDefault)-c.streams())
	c.mu.Lock()
	var victim *connection
	switch {
	case n.peer.IsValid() && len(c.peers[n.peer]) >= limit:
		c.mu.Unlock()
		c.refuse(n, errAddressFull, c.refusedAddress, silent)
		return nil
	case c.open >= room:
		if victim = c.victim(n.peer); victim == nil {
			c.mu.Unlock()
			c.refuse(n, errConnectionsFull, c.refusedTotal, silent)
			return nil
		}
	}
	c.open++
	if n.peer.IsValid() {
		if c.peers[n.peer] == nil {
			c.peers[n.peer] = map[*connection]struct{}{}
		}
		c.peers[n.peer][n] = struct{}{}
	}
	c.mu.Unlock()
	if victim != nil {
		c.evicted.Inc()
		_ = victim.Close() // it has brought no whole request
	}
	return n
}

// victim returns a connection that makes room for one of peer: the one that has waited
// longest for a request, of the address that has the most connections. There is none
// unless that has at least two more than peer. The caller holds mu.
func (c *connections) victim(peer netip.Prefix) *connection {
	for {
		var found *connection
		since, most := int64(gone), len(c.peers[peer])+1
		for _, list := range c.peers {
			if len(list) <= most {
				continue
			}
			at := int64(gone)
			var oldest *connection
			for n := range list {
				if w := n.waits.Load(); w < at {
					at, oldest = w, n
				}
			}
			if oldest != nil {
				found, since, most = oldest, at, len(list)
			}
		}
		if found == nil || found.waits.CompareAndSwap(since, gone) {
			return found
		}
	}
}

// wait notes that the connection waits for a request from now on.
func (n *connection) wait() { n.waits.Store(time.Now().UnixMicro()) }

// begin notes that a whole request is there, and reports whether the connection still
// is.
func (n *connection) begin() bool {
	was := n.waits.Load()
	return was == busy || was != gone && n.waits.CompareAndSwap(was, busy)
}

// Close closes the connection, which counts no more.
func (n *connection) Close() error {
	if !n.closed.Swap(true) {
		n.all.forget(n)
	}
	return n.TCPConn.Close()
}

func (c *connections) forget(n *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if list := c.peers[n.peer]; len(list) > 1 {
		delete(list, n)
	} else {
		delete(c.peers, n.peer)
	}
}

// Refusals of connections.
var (
	errAddressFull = &picloud.Error{
		Code: picloud.CodeTooMany, Type: "address-connections-full", Title: "This address has as many connections as it may have",
		Detail: "Close connections that are not needed, or repeat the request after the time in Retry-After.", RetryAfter: 10 * time.Second,
	}
	errConnectionsFull = &picloud.Error{
		Code: picloud.CodeUnavailable, Type: "connections-full", Title: "The node has as many connections as it can have",
		Detail: "Repeat the request after the time in Retry-After.", RetryAfter: 10 * time.Second,
	}
)

// refuse closes a new connection, with an answer unless silent, without reading from it.
func (c *connections) refuse(n *connection, e *picloud.Error, counter *metrics.Counter, silent bool) {
	counter.Inc()
	c.mu.Lock()
	told := time.Since(c.logged) < logRefusals
	if !told {
		c.logged = time.Now()
	}
	c.mu.Unlock()
	if !told {
		c.log.Warn("connections are refused", slog.String("limit", e.Type), slog.String("address", n.peer.String()))
	}
	if !silent {
		n.answer(e)
	}
	_ = n.TCPConn.Close()
}

// answer writes a problem to a connection that is closed then. It does not wait: a new
// connection has room for it.
func (n *connection) answer(e *picloud.Error) {
	status, after := statusOf[e.Code], int(e.RetryAfter.Seconds())
	body, err := json.Marshal(api.Problem{Type: api.ProblemPrefix + e.Type, Title: e.Title, Status: status, Detail: e.Detail, RetryAfter: after})
	if err != nil {
		panic(err) // strings and numbers
	}
	retry := ""
	if after > 0 {
		retry = fmt.Sprintf("Retry-After: %d\r\n", after)
	}
	_ = n.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	// What fails here fails for a peer that gets no answer either way.
	_, _ = fmt.Fprintf(n.TCPConn, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, fasthttp.StatusMessage(status), retry, len(body), body)
	_ = n.CloseWrite()
}

// connectionState follows what the HTTP server does with a connection.
func connectionState(conn net.Conn, state fasthttp.ConnState) {
	if state != fasthttp.StateIdle {
		return
	}
	if n := counted(conn); n != nil {
		n.wait()
	}
}

// counted returns the connection that counts of one that is served; nil: none does.
func counted(conn net.Conn) *connection {
	switch c := conn.(type) {
	case *connection:
		return c
	case *secureConn:
		return c.wire.connection
	}
	return nil
}

// begin notes that a request has arrived: its connection is no longer closed for a
// newcomer.
func (r *request) begin() error {
	if n := counted(r.Conn()); n != nil && !n.begin() {
		return errConnectionsFull // for the log: the connection is closed
	}
	return nil
}
