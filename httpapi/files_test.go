package httpapi_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/httpapi"
)

const filesPath = "/v1/apps/default/files/"

// FI-1 as a front-end developer meets it: written, read whole, in parts and only when
// it has changed, compared and set, listed, deleted; empty, too.
func TestFiles(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	text := "0123456789"
	sum := sha256.Sum256([]byte(text))
	digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	first := n.ask(t, "PUT", filesPath+"a/b%20c.txt", n.admin, "", "Content-Type", "text/plain", "If-None-Match", "*")
	if first.status != 200 {
		t.Fatalf("an empty one: %d %s", first.status, first.body)
	}
	second := n.ask(t, "PUT", filesPath+"a/b%20c.txt", n.admin, text, "Content-Type", "text/plain", "If-Match", first.header.Get("ETag"), "Repr-Digest", digest)
	var f api.File
	if err := json.Unmarshal(second.body, &f); err != nil || second.status != 200 || f.Path != "a/b c.txt" || f.Size != 10 || f.SHA256 != fmt.Sprintf("%x", sum) {
		t.Fatalf("%d %s", second.status, second.body)
	}
	tag := second.header.Get("ETag")
	got := n.ask(t, "GET", filesPath+"a/b%20c.txt", n.admin, "")
	h := got.header
	if got.status != 200 || string(got.body) != text || h.Get("Content-Type") != "text/plain" || h.Get("ETag") != tag || h.Get("Repr-Digest") != digest ||
		h.Get("Accept-Ranges") != "bytes" || h.Get("Content-Security-Policy") != "sandbox" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %q %v", got.status, got.body, h)
	}
	head := n.ask(t, "HEAD", filesPath+"a/b%20c.txt", n.admin, "")
	if head.status != 200 || head.header.Get("Content-Length") != "10" || len(head.body) != 0 {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
	for _, c := range []struct {
		method, body string
		headers      []string
		status       int
		want         string
	}{
		{"GET", "", []string{"If-None-Match", tag}, 304, ""},
		{"GET", "", []string{"Range", "bytes=2-4"}, 206, "234"},
		{"GET", "", []string{"Range", "bytes=2-4", "If-Range", tag}, 206, "234"},
		{"GET", "", []string{"Range", "bytes=2-4", "If-Range", h.Get("Last-Modified")}, 206, "234"},
		{"GET", "", []string{"Range", "bytes=2-4", "If-Range", `"1"`}, 200, text},
		{"GET", "", []string{"Range", "bytes=8-"}, 206, "89"},
		{"GET", "", []string{"Range", "bytes=-3"}, 206, "789"},
		{"GET", "", []string{"Range", "bytes=-30"}, 206, text},
		{"GET", "", []string{"Range", "bytes=8-100"}, 206, "89"},
		{"GET", "", []string{"Range", "bytes=10-"}, 416, ""},
		{"GET", "", []string{"Range", "bytes=-0"}, 416, ""},
		{"GET", "", []string{"Range", "bytes=5-2"}, 200, text},
		{"GET", "", []string{"Range", "bytes=0-1,3-4"}, 200, text},
		{"GET", "", []string{"Range", "lines=1-2"}, 200, text},
		{"HEAD", "", []string{"Range", "bytes=2-4"}, 200, ""},
		{"GET", "", []string{"If-Match", tag}, 200, text},
		{"GET", "", []string{"If-Match", `"1"`}, 412, ""},
		{"GET", "", []string{"If-Modified-Since", h.Get("Last-Modified")}, 304, ""},
		{"GET", "", []string{"If-Modified-Since", "Mon, 02 Jan 2006 15:04:05 GMT"}, 200, text},
		{"GET", "", []string{"If-Modified-Since", h.Get("Last-Modified"), "If-None-Match", `"1"`}, 200, text},
		{"PUT", "x", []string{"Repr-Digest", "garbage"}, 400, ""},
		{"PUT", "x", []string{"If-None-Match", "*"}, 412, ""},
		{"PUT", "x", []string{"If-Match", first.header.Get("ETag")}, 412, ""},
		{"PUT", "x", []string{"Repr-Digest", digest}, 422, ""},
		{"PUT", "x", []string{"Content-Digest", "sha-256=x"}, 400, ""},
		{"PUT", "x", []string{"Content-Range", "bytes 0-0/2"}, 400, ""},
		{"PUT", "x", []string{"Content-Type", "none at all"}, 422, ""},
		{"PUT", "x", []string{"Content-Encoding", "gzip"}, 415, ""},
		{"DELETE", "", []string{"If-Match", `"1"`}, 412, ""},
	} {
		a := n.ask(t, c.method, filesPath+"a/b%20c.txt", n.admin, c.body, c.headers...)
		if a.status != c.status || (c.want != "" && string(a.body) != c.want) {
			t.Errorf("%s %v: %d %q, want %d %q", c.method, c.headers, a.status, a.body, c.status, c.want)
		}
	}
	if part := n.ask(t, "GET", filesPath+"a/b%20c.txt", n.admin, "", "Range", "bytes=2-4"); part.header.Get("Content-Range") != "bytes 2-4/10" {
		t.Errorf("%v", part.header)
	}
	for _, path := range []string{"a/../b", "a//b", ".", "a%00"} {
		if a := n.ask(t, "PUT", filesPath+path, n.admin, "x"); a.status != 422 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	for i := range 3 {
		n.ask(t, "PUT", fmt.Sprintf("%sn/%d", filesPath, i), n.admin, "x")
	}
	var page api.Files
	a := n.ask(t, "GET", "/v1/apps/default/files?prefix=n/&limit=2", n.admin, "")
	if err := json.Unmarshal(a.body, &page); err != nil || len(page.Files) != 2 || page.Next == nil || page.Files[0].Type != "application/json" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	a = n.ask(t, "GET", *page.Next, n.admin, "")
	if err := json.Unmarshal(a.body, &page); err != nil || len(page.Files) != 1 || page.Next != nil || page.Files[0].Path != "n/2" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := n.ask(t, "DELETE", filesPath+"a/b%20c.txt", n.admin, ""); a.status != 204 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := n.ask(t, "GET", filesPath+"a/b%20c.txt", n.admin, ""); a.status != 404 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// FI-1: files larger than any other request arrive in whatever way HTTP has, and as
// slowly as the rate allows that is asked of them; half of one is none.
func TestUploads(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	start := func(conn net.Conn, path, more string) {
		_, _ = fmt.Fprintf(conn, "PUT %s%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n", filesPath, path, n.admin, more)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	req, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+n.addr+filesPath+"big", io.MultiReader(bytes.NewReader(big))) // chunked
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.admin)
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	_ = res.Body.Close()
	if a := n.ask(t, "GET", filesPath+"big", n.admin, ""); !bytes.Equal(a.body, big) {
		t.Errorf("%d bytes came back", len(a.body))
	}

	slow := dial()
	start(slow, "slow", "Content-Length: 26000")
	_, _ = slow.Write(big[:10_000])
	for range 8 {
		<-time.After(400 * time.Millisecond) // in all, more than the server waits for a whole request
		_, _ = slow.Write(big[:2_000])
	}
	_, _ = io.WriteString(slow, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	answers := bufio.NewReader(slow)
	for i := range 2 {
		res, err := http.ReadResponse(answers, nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("answer %d: %v %v", i, res, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
	}

	half := dial()
	start(half, "half", "Content-Length: 100")
	_, _ = io.WriteString(half, "too little")
	_ = half.Close()
	halves := dial()
	start(halves, "half", "Transfer-Encoding: chunked")
	_, _ = io.WriteString(halves, "a\r\ntoo little")
	_ = halves.(*net.TCPConn).CloseWrite()
	if res, err := http.ReadResponse(bufio.NewReader(halves), nil); err != nil || res.StatusCode != 400 {
		t.Errorf("half a body: %v %v", res, err)
	}
	stuck := dial()
	start(stuck, "half", "Content-Length: 100")
	if res, err := http.ReadResponse(bufio.NewReader(stuck), nil); err != nil || res.StatusCode != 408 {
		t.Errorf("a body that does not come: %v %v", res, err)
	}
	if a := n.ask(t, "GET", "/v1/apps/default/files?prefix=half", n.admin, ""); string(a.body) != `{"files":[],"next":null}`+"\n" {
		t.Errorf("%s", a.body)
	}
}

// FI-1: a download may take its time as long as it moves.
func TestSlowDownload(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(c *httpapi.Config) { c.WriteTimeout = 3 * time.Second }) // the kernel lets some MiB go out at once
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	if a := n.ask(t, "PUT", filesPath+"big", n.admin, string(big)); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+n.addr+filesPath+"big", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.admin)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var got bytes.Buffer
	for err == nil {
		<-time.After(250 * time.Millisecond)
		_, err = io.CopyN(&got, res.Body, 1<<20)
	}
	if !bytes.Equal(got.Bytes(), big) {
		t.Errorf("%d bytes of %d: %v", got.Len(), len(big), err)
	}
}

// What is no file is bounded, however it arrives, and who sends too much is told.
func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for _, path := range []string{"/v1/apps/default/topics/t/events", kvPath + "k"} {
		req, err := http.NewRequestWithContext(t.Context(), map[bool]string{true: "PUT", false: "POST"}[path == kvPath+"k"], "http://"+n.addr+path, io.LimitReader(spaces{}, 3<<20))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+n.admin)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != 413 || !strings.Contains(string(b), "body-too-large") {
			t.Errorf("%s: %d %s, %v", path, res.StatusCode, b, err)
		}
	}
	stranger := n.ask(t, "PUT", filesPath+"a", "", strings.Repeat("x", 4<<20))
	if stranger.status != 401 {
		t.Errorf("%d %s", stranger.status, stranger.body)
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
