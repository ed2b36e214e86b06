package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/httpapi"
)

// patient lets silent connections wait for longer than a test takes.
func patient(c *httpapi.Config) { c.ReadTimeout = 2 * time.Minute }

// from returns a dialer with an address of this machine.
func from(address string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 10 * time.Second}
}

// silence opens connections that send nothing.
func (n *node) silence(t *testing.T, address string, count int) []net.Conn {
	t.Helper()
	list := make([]net.Conn, 0, count)
	for range count {
		conn, err := from(address).Dial("tcp", n.addr)
		if err != nil {
			t.Fatalf("connection %d of %s: %v", len(list), address, err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		list = append(list, conn)
	}
	return list
}

// metric returns the value of a metric.
func (n *node) metric(t *testing.T, name string) string {
	t.Helper()
	var b bytes.Buffer
	n.cfg.Metrics.WritePrometheus(&b)
	for line := range strings.Lines(b.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("there is no metric %s", name)
	return ""
}

// SR-6: connections that stay silent, of one address or of several, keep neither
// another address nor the operator out.
func TestSilentConnectionsShutNobodyOut(t *testing.T) {
	for name, c := range map[string]struct{ addresses, each int }{
		"one address":       {1, 4200},
		"several addresses": {8, 525},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, patient)
			if a := n.ask(t, "POST", "/v1/apps/default/topics", n.admin, `{"name":"t","external":true,"auth_mode":"public"}`); a.status != 201 {
				t.Fatal(a.status)
			}
			http.DefaultClient.CloseIdleConnections()
			var silent []net.Conn
			for i := range c.addresses {
				silent = append(silent, n.silence(t, fmt.Sprintf("127.0.0.%d", 2+i), c.each)...)
			}
			const path = "/v1/apps/default/topics/t/events"
			honest := from("127.0.0.99")
			stream, err := honest.Dial("tcp", n.addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = stream.Close() })
			_ = stream.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.WriteString(stream, "GET "+path+" HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(stream)
			if head := readUntil(t, r, "\r\n\r\n"); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Fatalf("a subscriber got %q", head)
			}
			if f := frame(t, r); !strings.Contains(f, "event: hello\n") {
				t.Fatalf("%q", f)
			}
			client := &http.Client{Transport: &http.Transport{DialContext: honest.DialContext}}
			t.Cleanup(client.CloseIdleConnections)
			if a := n.askWith(t, client, n.url, "POST", path, n.admin, "1"); a.status != 201 {
				t.Errorf("a publisher got %d %s", a.status, a.body)
			}
			if f := frame(t, r); !strings.Contains(f, `"data":1`) {
				t.Errorf("%q", f)
			}
			if a := n.askWith(t, n.local, "http://x", "GET", "/v1/node", "", ""); a.status != 200 {
				t.Errorf("the operator got %d %s", a.status, a.body)
			}
			if c.addresses == 1 {
				last := silent[len(silent)-1]
				_ = last.SetReadDeadline(time.Now().Add(10 * time.Second))
				if b, err := io.ReadAll(last); err != nil || !bytes.HasPrefix(b, []byte("HTTP/1.1 429 ")) || !bytes.Contains(b, []byte("\r\nRetry-After: ")) {
					t.Errorf("the last of them got %q, %v", b, err)
				}
				if n.metric(t, `picloud_http_connections_refused_total{limit="address"}`) == "0" {
					t.Error("no refusal is counted")
				}
			}
			for _, conn := range silent {
				_ = conn.Close()
			}
			client.CloseIdleConnections()
			_ = stream.Close()
			for end := time.Now().Add(20 * time.Second); n.metric(t, "picloud_http_connections") != "0"; { // the server notices in its own time
				if time.Now().After(end) {
					t.Fatalf("%s connections are left", n.metric(t, "picloud_http_connections"))
				}
			}
		})
	}
}

// A request that is being answered is not cut for a newcomer.
func TestRequestsUnderWayAreNotCut(t *testing.T) {
	t.Parallel()
	g := &gate{entered: make(chan struct{}), open: make(chan struct{})}
	n := newNode(t, patient, func(c *httpapi.Config) {
		g.Publisher = c.Publisher
		c.Publisher = g
		c.MaxConnections = 4
	})
	client := &http.Client{Transport: &http.Transport{DialContext: from("127.0.0.2").DialContext}}
	t.Cleanup(client.CloseIdleConnections)
	status := make(chan int, 1)
	go func() {
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, n.url+"/v1/apps/default/topics/t/events", strings.NewReader("1"))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+n.admin)
		res, err := client.Do(req)
		if err != nil {
			status <- 0
			return
		}
		_ = res.Body.Close()
		status <- res.StatusCode
	}()
	<-g.entered
	n.silence(t, "127.0.0.2", 2)
	for i := range 8 {
		n.silence(t, fmt.Sprintf("127.0.0.%d", 3+i), 1)
	}
	close(g.open)
	if got := <-status; got != 201 {
		t.Errorf("the publish that was under way got %d", got)
	}
}

// A peer that connects and sends nothing is cut.
func TestSilentConnectionIsCut(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	conn := n.silence(t, "127.0.0.1", 1)[0]
	_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("not cut: %v", err)
	}
}

// SR-6: uploads that trickle take the places of their own app alone, and end.
func TestTricklingUploads(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(c *httpapi.Config) { c.ReadTimeout = 8 * time.Second }) // a busy machine takes its time, too
	if a := n.ask(t, "POST", "/v1/apps", n.admin, `{"name":"other"}`); a.status != 201 {
		t.Fatal(a.status)
	}
	key, others := n.key(t, "default", picloud.ScopeAppWrite), n.key(t, "other", picloud.ScopeAppWrite)
	answers := make(chan string, 32)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	for i := range 32 {
		conn := n.silence(t, "127.0.0.1", 1)[0]
		fmt.Fprintf(conn, "PUT /v1/apps/default/files/f%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000000\r\n\r\n%s", i, key, strings.Repeat("x", 16<<10)) // more than is read with the head
		go func() {                                                                                                                                                                   // a byte now and then
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for range tick.C {
				if _, err := conn.Write([]byte("x")); err != nil || ctx.Err() != nil {
					return
				}
			}
		}()
		go func() {
			_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			line, _ := bufio.NewReader(conn).ReadString('\n')
			answers <- line
		}()
	}
	for end := time.Now().Add(6 * time.Second); ; { // their requests arrive in their own time
		a := n.ask(t, "PUT", "/v1/apps/default/files/mine", key, "x")
		if a.status == 429 && a.header.Get("Retry-After") != "" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("one upload too many of an app got %d %s", a.status, a.body)
		}
	}
	if a := n.ask(t, "PUT", "/v1/apps/other/files/honest", others, strings.Repeat("x", 100_000)); a.status/100 != 2 {
		t.Errorf("the upload of another app got %d %s", a.status, a.body)
	}
	count := map[string]int{}
	for range 32 {
		if _, status, ok := strings.Cut(<-answers, " "); ok {
			count[status[:3]]++
		}
	}
	if count["408"] == 0 || count["408"] > 8 || count["200"]+count["201"] > 0 { // answers to those that go on sending may be lost
		t.Errorf("answers of those that trickle: %v", count)
	}
	if a := n.ask(t, "PUT", "/v1/apps/default/files/mine", key, "x"); a.status/100 != 2 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}
