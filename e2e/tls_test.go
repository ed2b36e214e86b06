package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// secureNode makes a node that serves HTTPS with a certificate of its own authority, and returns
// it as it is seen over HTTPS, and the directory of the certificate. It is not started.
func secureNode(t *testing.T, env ...string) (n, front *node, dir string) {
	t.Helper()
	n = newNode(t, env...)
	dir = filepath.Join(n.home, "tls")
	n.cli("tls", "self-signed", "--to", dir)
	listen := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	n.env = append(n.env, "PICLOUD_HTTP_TLS_CERT="+filepath.Join(dir, "server.crt"), "PICLOUD_HTTP_TLS_KEY="+filepath.Join(dir, "server.key"), "PICLOUD_HTTP_TLS_LISTEN="+listen)
	return n, seenOver(t, n, "https://"+listen, dir), dir
}

// seenOver is a node under a URL of HTTPS, whose clients trust the authority in dir.
func seenOver(t *testing.T, n *node, url, dir string) *node {
	t.Helper()
	front := n2(n)
	front.url = url
	transport := &http.Transport{TLSClientConfig: trust(t, dir), ResponseHeaderTimeout: 60 * time.Second, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	front.client = &http.Client{Transport: transport}
	return front
}

// trust is the configuration of a client that trusts the authority in dir.
func trust(t *testing.T, dir string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots}
}

// serial returns the serial number of the certificate that a node shows.
func (n *node) serial(t *testing.T, dir string) string {
	t.Helper()
	d := tls.Dialer{Config: trust(t, dir)}
	conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(n.url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// within polls, since what a process notices gives no signal.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); pause(t.Context(), 50*time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// OP-9: HTTPS beside HTTP, with a certificate that is renewed, spoilt and mended while streams
// go on: a sound pair is taken, any other changes nothing and is told.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	n, front, dir := secureNode(t)
	n.start()
	key := n.key("", "instance:admin")
	const path = "/v1/apps/default/topics/t/events"
	secure, plain := front.subscribe(key, path), n.subscribe(key, path)
	secure.want(t, "hello")
	plain.want(t, "hello")
	publish := func() {
		t.Helper()
		var r receipt
		front.do(201, &r, "POST", path, key, "1")
		for name, s := range map[string]*stream{"HTTPS": secure, "HTTP": plain} {
			if f := s.want(t, ""); f.ID != r.ID {
				t.Errorf("over %s came %s, published was %s", name, f.ID, r.ID)
			}
		}
	}
	publish()
	first := front.serial(t, dir)
	n.cli("tls", "self-signed", "--to", dir, "--renew")
	within(t, "the new certificate", func() bool { return front.serial(t, dir) != first })
	publish()

	second := front.serial(t, dir)
	good, err := os.ReadFile(filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "server.key"), []byte("spoilt"), 0o600); err != nil {
		t.Fatal(err)
	}
	within(t, "the fault to be told", func() bool { return strings.Contains(n.cli("status"), "the new files cannot be used") })
	within(t, "the log to tell it", func() bool { return strings.Contains(n.process().log.String(), "the one before stays") })
	out, _, code := n.run("", "doctor")
	if code == 0 || !strings.Contains(out, "BAD  certificate") {
		t.Errorf("doctor ends with %d:\n%s", code, out)
	}
	if a := n.do(200, nil, "GET", "/metrics", key, ""); !bytes.Contains(a.body, []byte("\npicloud_tls_certificate_fault 1\n")) {
		t.Error("the fault is not exported")
	}
	if got := front.serial(t, dir); got != second {
		t.Errorf("shows %s, before the fault it was %s", got, second)
	}
	publish()
	if err := os.WriteFile(filepath.Join(dir, "server.key"), good, 0o600); err != nil {
		t.Fatal(err)
	}
	within(t, "the mended pair", func() bool { return !strings.Contains(n.cli("status"), "cannot be used") })
	publish()
	if got := strings.Count(n.process().log.String(), "the one before stays"); got != 1 {
		t.Errorf("the fault is logged %d times", got)
	}
	if n.stop() != 0 {
		t.Errorf("exit code\n%s", n.process().log)
	}
}

// curl, as a user would call it: it believes the authority and nothing else, and streams.
func TestCurlOverHTTPS(t *testing.T) {
	t.Parallel()
	n, front, dir := secureNode(t)
	n.start()
	key := n.key("", "instance:admin")
	curl := func(args ...string) (string, int) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "curl", append([]string{"-sS", "--noproxy", "*"}, args...)...)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := curl(front.url + "/readyz"); code != 60 {
		t.Errorf("without the authority curl ends with %d: %s", code, out)
	}
	ca := filepath.Join(dir, "ca.crt")
	if out, code := curl("--cacert", ca, front.url+"/readyz"); code != 0 || out != "ready\n" {
		t.Errorf("curl ends with %d: %s", code, out)
	}
	n.do(201, nil, "POST", "/v1/apps/default/topics", key, `{"name":"t","external":true,"auth_mode":"public"}`)
	n.do(201, nil, "POST", "/v1/apps/default/topics/t/events", key, `"first"`)
	stopped := make(chan string)
	go func() {
		out, code := curl("-N", "--cacert", ca, "-H", "Accept: text/event-stream", front.url+"/v1/apps/default/topics/t/events?since=all")
		stopped <- fmt.Sprintf("curl ends with %d: %s", code, out)
	}()
	within(t, "the subscriber", func() bool {
		var st struct{ Subscribers int }
		n.do(200, &st, "GET", "/v1/node", key, "")
		return st.Subscribers == 1
	})
	n.do(201, nil, "POST", "/v1/apps/default/topics/t/events", key, `"second"`)
	if n.stop() != 0 {
		t.Errorf("exit code\n%s", n.process().log)
	}
	got := <-stopped
	for _, want := range []string{"curl ends with 0: ", `"first"`, `"second"`, "event: bye"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
}

// `picloud tls self-signed` keeps keys to itself, says what to do, and overwrites no authority.
func TestSelfSigned(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	out := n.cli("tls", "self-signed", "--name", "Pi.Example.org.", "--name", "203.0.113.9")
	dir := filepath.Join(n.data, "tls")
	for _, want := range []string{"pi.example.org", "203.0.113.9", "localhost", ".local", filepath.Join(dir, "server.key"), "tls_cert = ", "Android", "iPhone"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	for _, name := range []string{"ca.key", "server.key"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, err)
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if _, errs, code := n.run("", "tls", "self-signed"); code != 1 || !strings.Contains(errs, "--renew") {
		t.Errorf("over an authority: %d %s", code, errs)
	}
	var made struct{ Names []string }
	if err := json.Unmarshal([]byte(n.cli("tls", "self-signed", "--renew", "--json")), &made); err != nil || !strings.Contains(strings.Join(made.Names, " "), "pi.example.org") {
		t.Errorf("a renewed certificate is for %q (%v)", made.Names, err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "ca.crt")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the authority is another (%v)", err)
	}
	if _, errs, code := n.run("", "tls", "self-signed", "--renew", "--name", "www.google.com"); code != 1 || !strings.Contains(errs, "was not made for") {
		t.Errorf("for a name that it must not: %d %s", code, errs)
	}
	if _, errs, code := n.run("", "tls", "self-signed", "--to", filepath.Join(n.home, "new"), "--name", "https://x"); code != 2 || !strings.Contains(errs, "without scheme") {
		t.Errorf("for a URL: %d %s", code, errs)
	}
	if n.stop() != 0 {
		t.Error(n.process().log)
	}
	n.start() // with the folder in its data directory
}

// Chromium believes the authority, with its constraints, once it is among those it trusts, and
// only then; it takes events over HTTPS by the name that the network has for the board.
func TestBrowserTrustsTheAuthority(t *testing.T) {
	t.Parallel()
	n, front, dir := secureNode(t, "PICLOUD_NAME=garden")
	n.start()
	n.cli("topics", "create", "t")
	n.cli("topics", "external", "t", "on")
	n.cli("topics", "update", "t", "--auth", "public")
	n.cli("publish", "t", `"over HTTPS"`)
	_, port, _ := strings.Cut(strings.TrimPrefix(front.url, "https://"), ":")
	page := "https://garden.local:" + port
	for name, trusts := range map[string]bool{"a stranger": false, "a friend": true} {
		authority := ""
		if trusts {
			authority = filepath.Join(dir, "ca.crt")
		}
		ctx := browser(t, chromedp.Env("HOME="+trusting(t, authority)), chromedp.Flag("host-resolver-rules", "MAP garden.local 127.0.0.1"))
		_, err := chromedp.Run(ctx, chromedp.Navigate(page+"/"))
		if !trusts {
			if err == nil || !strings.Contains(err.Error(), "ERR_CERT_AUTHORITY_INVALID") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var event struct{ Topic, Data string }
		evaluate(ctx, t, `(globalThis.got = null, new EventSource("/v1/apps/default/topics/t/events?since=all").onmessage = e => { globalThis.got = JSON.parse(e.data) }, 1)`, new(int))
		within(t, "the event", func() bool {
			var got *struct{ Topic, Data string }
			evaluate(ctx, t, `globalThis.got`, &got)
			if got != nil {
				event = *got
			}
			return got != nil
		})
		if event.Data != "over HTTPS" {
			t.Errorf("%s: %+v", name, event)
		}
	}
}
