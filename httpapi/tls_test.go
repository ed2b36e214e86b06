package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/certificate"
	"github.com/picloud/picloud/httpapi"
)

// authority makes a private authority and a certificate for 127.0.0.1, and returns what keeps
// that and whom its clients trust.
func authority(t *testing.T) (*certificate.Keeper, *tls.Config) {
	t.Helper()
	dir := t.TempDir()
	hosts := []string{"pi.local", "127.0.0.1"}
	a, err := certificate.NewAuthority(dir, "pi", hosts, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Issue(hosts, time.Now()); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Cert)
	keeper := certificate.New(certificate.Config{CertFile: filepath.Join(dir, certificate.CertFile), KeyFile: filepath.Join(dir, certificate.KeyFile)})
	return keeper, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

// secureNode returns a node that speaks TLS on another port, too, and whom its clients trust.
func secureNode(t *testing.T, change ...func(*httpapi.Config)) (*node, *tls.Config) {
	t.Helper()
	keeper, trust := authority(t)
	return newNode(t, append(change, func(c *httpapi.Config) { c.Certificate = keeper })...), trust
}

// dialTLS opens a connection to the port for TLS, with a receive buffer of a size unless 0.
func (n *node) dialTLS(t *testing.T, trust *tls.Config, buffer int) *tls.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", n.secure)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if buffer > 0 {
		_ = conn.(*net.TCPConn).SetReadBuffer(buffer)
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	c := tls.Client(conn, trust)
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// OP-9: requests, files among them, over TLS: what arrives and leaves is what was sent.
func TestRequestsOverTLS(t *testing.T) {
	t.Parallel()
	n, trust := secureNode(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		trust := trust.Clone()
		trust.MinVersion, trust.MaxVersion = version, version
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}}
		base := "https://" + n.secure
		content := make([]byte, 3<<20)
		for i := range content {
			content[i] = byte(rand.Int())
		}
		path := fmt.Sprintf("/v1/apps/default/files/f%d", version)
		if a := n.askWith(t, client, base, "PUT", path, n.admin, string(content)); a.status/100 != 2 {
			t.Fatalf("%s: %d %s", tls.VersionName(version), a.status, a.body)
		}
		if a := n.askWith(t, client, base, "GET", path, n.admin, ""); a.status != 200 || !bytes.Equal(a.body, content) {
			t.Errorf("%s: %d, %d bytes, want %d", tls.VersionName(version), a.status, len(a.body), len(content))
		}
		if a := n.askWith(t, client, base, "GET", "/v1/node", "", ""); a.status != 401 {
			t.Errorf("%s, anonymous: %d", tls.VersionName(version), a.status)
		}
		client.CloseIdleConnections()
	}
	c := n.dialTLS(t, func() *tls.Config { c := trust.Clone(); c.NextProtos = []string{"h2", "http/1.1"}; return c }(), 0)
	if got := c.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("a client that offers h2 gets %q", got)
	}
	if a := n.ask(t, "GET", "/v1/node", n.admin, ""); a.status != 200 || !strings.Contains(string(a.body), `"tls":{"names":["pi.local","127.0.0.1"]`) {
		t.Errorf("over HTTP: %d %s", a.status, a.body)
	}
}

// streamTLS opens a stream.
func (n *node) streamTLS(t *testing.T, trust *tls.Config, buffer int, query string) *bufio.Reader {
	t.Helper()
	c := n.dialTLS(t, trust, buffer)
	if _, err := io.WriteString(c, "GET /v1/apps/default/topics/t/events"+query+" HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nAuthorization: Bearer "+n.admin+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReaderSize(c, 512)
	if head := readUntil(t, r, "\r\n\r\n"); !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") {
		t.Fatalf("head %q", head)
	}
	return r
}

// RT-7: a stream over TLS whose socket is full, over and over, gets whole records, every event
// or the gap that says how many it missed, and nothing else.
func TestSlowStreamsOverTLS(t *testing.T) {
	t.Parallel()
	n, trust := secureNode(t)
	const total = 600
	publish := func(t *testing.T, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			size := []int{10, 900, 5_000, 16_000, 16_384, 17_000, 60_000}[i%7]
			data := fmt.Sprintf(`[%d,"%s"]`, i, strings.Repeat("x", size))
			if _, err := n.store.Publish(t.Context(), picloud.Publication{App: "default", By: picloud.LocalOperator(), Drafts: []picloud.Draft{{Topic: "t", Data: []byte(data)}}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(t, 0, total)
	type slow struct {
		r    *bufio.Reader
		from int
	}
	const buffer = 64 << 10
	streams := map[string]slow{
		"live":            {n.streamTLS(t, trust, buffer, ""), total},
		"live, lossless":  {n.streamTLS(t, trust, buffer, "?lossless=true"), total},
		"from the start":  {n.streamTLS(t, trust, buffer, "?since=all"), 0},
		"start, lossless": {n.streamTLS(t, trust, buffer, "?since=all&lossless=true"), 0},
	}
	for _, s := range streams {
		if f := frame(t, s.r); !strings.Contains(f, "event: hello\n") {
			t.Fatalf("%.80q", f)
		}
	}
	publish(t, total, 2*total)
	gaps := map[string]int{}
	for name, s := range streams {
		next := s.from
		for next < 2*total {
			f := frame(t, s.r)
			data := f[strings.Index(f, "data: ")+6:]
			if strings.Contains(f, "event: gap\n") {
				var g struct{ Missed int }
				if err := json.Unmarshal([]byte(data), &g); err != nil {
					t.Fatalf("%s: %v in %.80q", name, err, f)
				}
				next += g.Missed
				gaps[name]++
				continue
			}
			var e struct{ Data []any }
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				t.Fatalf("%s: %v in %.80q", name, err, f)
			}
			if e.Data[0] != float64(next) {
				t.Fatalf("%s: event %v in the place of %d", name, e.Data[0], next)
			}
			next++
		}
	}
	if gaps["live"] == 0 || gaps["live, lossless"]+gaps["start, lossless"] > 0 {
		t.Errorf("gaps: %v", gaps)
	}
}

// A stream over TLS ends as TLS ends, so that its client knows that nothing was cut off.
func TestStreamOverTLSEnds(t *testing.T) {
	t.Parallel()
	n, trust := secureNode(t)
	if a := n.ask(t, "POST", "/v1/apps/default/topics", n.admin, `{"name":"t","external":true,"auth_mode":"public"}`); a.status != 201 {
		t.Fatal(a.status)
	}
	r := n.streamTLS(t, trust, 0, "")
	if f := frame(t, r); !strings.Contains(f, "event: hello\n") {
		t.Fatalf("%q", f)
	}
	if a := n.ask(t, "DELETE", "/v1/apps/default/topics/t", n.admin, ""); a.status/100 != 2 {
		t.Fatal(a.status)
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("after %q: %v", rest, err)
	}
}

// Connections over TLS draw from the same limits. Those that never finish their handshake, or
// send more than one has, are cut; what they leave counts no more.
func TestHandshakesAreBounded(t *testing.T) {
	t.Parallel()
	n, trust := secureNode(t, func(c *httpapi.Config) { c.MaxConnections, c.MaxPerAddress = 40, 20 })
	dial := func(begin string) net.Conn {
		conn, err := from("127.0.0.2").Dial("tcp", n.secure)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = io.WriteString(conn, begin)
		return conn
	}
	ended := func(conn net.Conn) error {
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		_, err := io.Copy(io.Discard, conn)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			return err
		}
		return nil
	}
	// A record of the largest size, which is never whole; and records that never end.
	for name, begin := range map[string]string{"silent": "", "half a record": "\x16\x03\x01\x40\x00", "half a hello": "\x16\x03\x01\x00\x40\x01\x00\x20\x00"} {
		if err := ended(dial(begin)); err != nil {
			t.Errorf("%s: not cut: %v", name, err)
		}
	}
	endless := dial("")
	go func() {
		record := append([]byte("\x16\x03\x01\x04\x00\x01\x00\xff\xff"), make([]byte, 1020)...)
		for range 1000 {
			if _, err := endless.Write(record); err != nil {
				return
			}
			record = append([]byte("\x16\x03\x01\x04\x00"), make([]byte, 1024)...)
		}
	}()
	if err := ended(endless); err != nil {
		t.Errorf("endless hello: not cut: %v", err)
	}
	var silent []net.Conn
	for range 21 {
		silent = append(silent, dial(""))
	}
	if err := ended(silent[20]); err != nil {
		t.Errorf("the connection beyond the limit of its address: %v", err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust}}
	if a := n.askWith(t, client, "https://"+n.secure, "GET", "/readyz", "", ""); a.status != 200 {
		t.Errorf("another address: %d", a.status)
	}
	client.CloseIdleConnections()
	for _, conn := range silent {
		_ = conn.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	for end := time.Now().Add(30 * time.Second); n.metric(t, "picloud_http_connections") != "0"; { // the server notices in its own time
		if time.Now().After(end) {
			t.Fatalf("%s connections are left", n.metric(t, "picloud_http_connections"))
		}
	}
	if n.metric(t, "picloud_tls_handshakes_failed_total") == "0" {
		t.Error("no failed handshake is counted")
	}
}

// Many handshakes at the same time all come to their turn.
func TestHandshakesTakeTurns(t *testing.T) {
	t.Parallel()
	n, trust := secureNode(t)
	const clients = 64
	errs := make(chan error, clients)
	for range clients {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			d := tls.Dialer{Config: trust}
			conn, err := d.DialContext(ctx, "tcp", n.secure)
			if err == nil {
				err = conn.Close()
			}
			errs <- err
		}()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// A browser that was given http:// for the port of TLS is told.
func TestPlainHTTPOnThePortForTLS(t *testing.T) {
	t.Parallel()
	n, _ := secureNode(t)
	for _, method := range []string{"GET", "POST", "OPTIONS"} {
		conn, err := net.Dial("tcp", n.secure)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = io.WriteString(conn, method+" / HTTP/1.1\r\nHost: pi.local:7443\r\nUser-Agent: "+strings.Repeat("x", 3000)+"\r\n\r\n")
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		b, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 400 ") || !strings.Contains(string(b), "tls-required") {
			t.Errorf("%s: %q, %v", method, b, err)
		}
	}
}

// Without a certificate that can be used handshakes are refused, and HTTP is served.
func TestNoCertificate(t *testing.T) {
	t.Parallel()
	keeper := certificate.New(certificate.Config{CertFile: "/nowhere/server.crt", KeyFile: "/nowhere/server.key"})
	n := newNode(t, func(c *httpapi.Config) { c.Certificate = keeper })
	if conn, err := tls.Dial("tcp", n.secure, &tls.Config{InsecureSkipVerify: true}); err == nil { // #nosec G402 -- there is none
		_ = conn.Close()
		t.Error("a handshake without a certificate")
	}
	a := n.ask(t, "GET", "/v1/node", n.admin, "")
	if a.status != 200 || !strings.Contains(string(a.body), `"tls":{"names":[],"starts_at":null,"expires_at":null,"expires":false,"fault":"read the certificate: `) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if n.metric(t, "picloud_tls_certificate_fault") != "1" {
		t.Error("the fault is not exported")
	}
}
