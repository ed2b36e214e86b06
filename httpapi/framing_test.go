package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// What a proxy in front of the node may frame in another way is refused, and the
// connection ends with it: what follows is not taken for a request.
func TestAmbiguousFramingIsRefused(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	const next = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	head := "POST /v1/apps/default/topics/t/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + n.admin + "\r\n"
	for name, request := range map[string]string{
		"length and chunks":         head + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
		"length and identity":       head + "Content-Length: 1\r\nTransfer-Encoding: identity\r\n\r\n1",
		"two lengths":               head + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n1",
		"a list of lengths":         head + "Content-Length: 1, 1\r\n\r\n1",
		"a signed length":           head + "Content-Length: +1\r\n\r\n1",
		"space in a name":           head + "Content-Length: 1\r\nX Y: z\r\n\r\n1",
		"space behind a name":       head + "Content-Length : 1\r\n\r\n1",
		"a folded line":             head + "Content-Length: 1\r\nX-Y: z\r\n Transfer-Encoding: chunked\r\n\r\n1",
		"a bare LF behind a header": head + "X-Y: z\nContent-Length: 1\r\n\r\n1",
		"a bare LF at the end":      head + "Content-Length: 1\r\n\n1\r\n\r\n",
		"a bare LF behind a chunk":  head + "Transfer-Encoding: chunked\r\n\r\n1\r\n1\n0\r\n\r\n",
		"a bare LF behind a size":   head + "Transfer-Encoding: chunked\r\n\r\n1\n1\r\n0\r\n\r\n",
		"a size with a prefix":      head + "Transfer-Encoding: chunked\r\n\r\n0x1\r\n1\r\n0\r\n\r\n",
		"another coding":            head + "Transfer-Encoding: gzip, chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
		"chunks in HTTP/1.0":        strings.Replace(head, "1.1", "1.0", 1) + "Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
	} {
		got := n.raw(t, request+next)
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") || strings.Count(got, "HTTP/1.1 ") != 1 || !strings.Contains(got, "\r\nConnection: close\r\n") {
			t.Errorf("%s: %.300q", name, got)
		}
	}
	if head, err := n.store.Head("default"); err != nil || head.Seq != 0 {
		t.Errorf("something was published: %v, %v", head, err)
	}
	if got := n.raw(t, head+"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 201 ") {
		t.Errorf("well-formed chunks: %.200q", got)
	}
}

// A body that is too large is refused before it is asked for.
func TestLargeBodiesAreNotAskedFor(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.serve(t, `export const size = ({ body }) => body.length;`, "size")
	for _, test := range []struct {
		request string
		length  int64
		want    string
	}{
		{"POST /v1/apps/default/topics/t/events", 1, "100 Continue"},
		{"POST /v1/apps/default/topics/t/events", 100 << 20, "413 "},
		{"POST /apps/default/size", 1 << 20, "100 Continue"},
		{"POST /apps/default/size", 1<<20 + 1, "413 "},
		{"PUT /v1/apps/default/files/f", 100 << 20, "100 Continue"},
		{"PUT /v1/apps/default/files/f", 1 << 40, "413 "},
		{"PUT /v1/apps/default/files/f HTTP/1.1\r\nHost: evil.example", 1, "421 "},
		{"PUT /v1/apps/default/files/f HTTP/1.1\r\nHost: x\r\nA B: c", 1, "400 "},
	} {
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		request := test.request
		if !strings.Contains(request, "Host: ") {
			request += " HTTP/1.1\r\nHost: x"
		}
		if _, err := fmt.Fprintf(conn, "%s\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", request, n.admin, test.length); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		r := bufio.NewReader(conn)
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+test.want) {
			t.Errorf("%s with %d bytes: %q, %v, want %s", test.request, test.length, line, err, test.want)
		}
		if !strings.HasPrefix(test.want, "100") {
			rest, err := io.ReadAll(r) // until the server closes
			if err != nil || !strings.Contains(string(rest), "urn:picloud:problem:") || !strings.Contains(string(rest), "nosniff") {
				t.Errorf("%s: %q, %v", test.request, rest, err)
			}
		}
		_ = conn.Close()
	}
}
