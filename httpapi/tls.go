package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/certificate"
	"github.com/picloud/picloud/realtime"
)

const (
	// maxHandshake bounds the bytes that a peer sends before its handshake is over: several
	// times what browsers send, and few enough for such a connection to cost no more than one
	// without TLS.
	maxHandshake = 8 << 10
	// turnWait is how long a handshake waits for its turn to compute.
	turnWait = 5 * time.Second
	// closeWait is how long a connection that closes waits for its peer to take that.
	closeWait = 100 * time.Millisecond
)

// errPlainHTTP answers a request without TLS on a port for TLS.
var errPlainHTTP = &picloud.Error{
	Code: picloud.CodeInvalid, Type: "tls-required", Title: "This port speaks HTTPS",
	Detail: "Begin the address with https://, or use the port that speaks HTTP.",
}

var (
	errHandshakeSize = errors.New("the handshake is too long")
	errNoTurn        = errors.New("too many handshakes at the same time")
)

// ServeTLS answers on a TCP listener over TLS, as Serve does without; Config.Certificate must
// be there. It returns nil after Shutdown.
func (s *Server) ServeTLS(ln net.Listener) error {
	l := secureListener{limited: limitedListener{ln, s.connections, true}, turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	l.failures = s.cfg.Metrics.GetOrCreateCounter("picloud_tls_handshakes_failed_total")
	l.config = &tls.Config{
		MinVersion:                  tls.VersionTLS12,
		NextProtos:                  []string{"http/1.1"}, // a stream is a connection of its own
		DynamicRecordSizingDisabled: true,                 // the hub writes a record at a time
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if w, ok := hello.Conn.(*wire); ok && !w.takeTurn() {
				return nil, errNoTurn
			}
			return s.cfg.Certificate.Certificate(hello)
		},
	}
	return s.serve(l)
}

// measureCertificate exports how long the certificate lasts and whether it can be used.
func measureCertificate(set *metrics.Set, keeper *certificate.Keeper) {
	set.GetOrCreateGauge("picloud_tls_certificate_expiry_timestamp_seconds", func() float64 {
		if s := keeper.Status(); !s.NotAfter.IsZero() {
			return float64(s.NotAfter.Unix())
		}
		return 0
	})
	set.GetOrCreateGauge("picloud_tls_certificate_fault", func() float64 {
		if keeper.Status().Fault != "" {
			return 1
		}
		return 0
	})
}

// secureListener makes the connections that it accepts speak TLS.
type secureListener struct {
	limited  limitedListener
	config   *tls.Config
	turns    chan struct{} // holds the handshakes that compute
	failures *metrics.Counter
}

// Accept waits for the next connection that has room. Its handshake takes place when it is
// first read from, in its own goroutine and within the time of its first request.
func (l secureListener) Accept() (net.Conn, error) {
	conn, err := l.limited.Accept()
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*connection)
	if !ok {
		return nil, errors.Join(fmt.Errorf("TLS is for TCP, not for %T", conn), conn.Close())
	}
	w := &wire{connection: tcp, turns: l.turns}
	return &secureConn{tls: tls.Server(w, l.config), wire: w, failures: l.failures}, nil
}

// Close closes the listener.
func (l secureListener) Close() error { return l.limited.Close() }

// Addr returns the address of the listener.
func (l secureListener) Addr() net.Addr { return l.limited.Addr() }

// secureConn is a TCP connection that speaks TLS. It has no methods but those of net.Conn and
// of realtime.Secure: others would let bytes past the encryption.
type secureConn struct {
	tls      *tls.Conn
	wire     *wire
	failures *metrics.Counter
}

// Read reads what the peer sends, after the handshake, which the first call does.
func (c *secureConn) Read(b []byte) (int, error) {
	if !c.wire.open {
		if err := c.handshake(); err != nil {
			return 0, err
		}
	}
	return c.tls.Read(b)
}

func (c *secureConn) handshake() error {
	err := c.tls.HandshakeContext(context.Background()) // ends with the deadline of the connection
	c.wire.endTurn()
	if err == nil {
		c.wire.open = true
		return nil
	}
	c.failures.Inc()
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && isHTTP(plain.RecordHeader[:]) {
		c.wire.answer(errPlainHTTP)
		_ = c.wire.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.CopyN(io.Discard, c.wire.TCPConn, maxHandshake) // unread bytes would take the answer away from the peer
	}
	return err
}

// isHTTP reports whether a connection that begins like this speaks HTTP without TLS.
func isHTTP(begin []byte) bool {
	return slices.Contains([]string{"GET /", "HEAD ", "POST ", "PUT /", "PATCH", "DELET", "OPTIO"}, string(begin))
}

// Write encrypts and sends.
func (c *secureConn) Write(b []byte) (int, error) { return c.tls.Write(b) }

// Close tells the peer that nothing follows, if there is room for that, and closes the
// connection.
func (c *secureConn) Close() error {
	c.wire.closing.Store(true)
	return c.tls.Close()
}

// LocalAddr returns the address of the node.
func (c *secureConn) LocalAddr() net.Addr { return c.tls.LocalAddr() }

// RemoteAddr returns the address of the peer.
func (c *secureConn) RemoteAddr() net.Addr { return c.tls.RemoteAddr() }

// SetDeadline sets the deadlines of the TCP connection.
func (c *secureConn) SetDeadline(t time.Time) error { return c.tls.SetDeadline(t) }

// SetReadDeadline sets the deadline for reading, the handshake included.
func (c *secureConn) SetReadDeadline(t time.Time) error { return c.tls.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline for writing.
func (c *secureConn) SetWriteDeadline(t time.Time) error { return c.tls.SetWriteDeadline(t) }

// Detach gives the TCP connection away, and what encrypts for it.
func (c *secureConn) Detach() (net.Conn, realtime.Sealer) {
	tcp := c.wire.connection
	c.wire.connection = nil
	return tcp, &sealer{c.tls, c.wire}
}

// sealer encrypts for a connection that was given away.
type sealer struct {
	tls  *tls.Conn
	wire *wire
}

// Seal appends the records that carry plain to dst.
func (s *sealer) Seal(dst, plain []byte) ([]byte, error) {
	s.wire.records = dst
	_, err := s.tls.Write(plain)
	dst, s.wire.records = s.wire.records, nil
	return dst, err
}

// SealEnd appends the record that says that nothing follows to dst.
func (s *sealer) SealEnd(dst []byte) ([]byte, error) {
	s.wire.records = dst
	err := s.tls.CloseWrite()
	dst, s.wire.records = s.wire.records, nil
	return dst, err
}

// wire is the TCP connection below TLS.
type wire struct {
	*connection // nil: it was given away, and what is written is gathered in records

	open     bool // the handshake is over
	received int  // bytes before it was
	turns    chan struct{}
	turn     bool // holds one of turns
	records  []byte
	closing  atomic.Bool
}

// Read reads records. Until the handshake is over it reads no more than one has.
func (w *wire) Read(b []byte) (int, error) {
	if w.open {
		return w.connection.Read(b)
	}
	left := maxHandshake - w.received
	if left <= 0 {
		return 0, errHandshakeSize
	}
	n, err := w.connection.Read(b[:min(len(b), left)])
	w.received += n
	return n, err
}

// Write sends records. The first of a handshake follow what costs the most.
func (w *wire) Write(b []byte) (int, error) {
	if w.connection == nil {
		w.records = append(w.records, b...)
		return len(b), nil
	}
	w.endTurn()
	return w.connection.Write(b)
}

// SetWriteDeadline sets the deadline of a connection that was not given away. One that closes
// waits a moment at most for a peer that reads nothing.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.connection == nil {
		return nil
	}
	if last := time.Now().Add(closeWait); w.closing.Load() && t.After(last) {
		t = last
	}
	return w.connection.SetWriteDeadline(t)
}

// takeTurn waits until the handshake may compute its signature, so that those of strangers leave
// half of the processors to everything else. It reports false when it has waited too long.
func (w *wire) takeTurn() bool {
	timer := time.NewTimer(turnWait)
	defer timer.Stop()
	select {
	case w.turns <- struct{}{}:
		w.turn = true
		return true
	case <-timer.C:
		return false
	}
}

// endTurn lets the next handshake compute.
func (w *wire) endTurn() {
	if w.turn {
		w.turn = false
		<-w.turns
	}
}
