package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/daemon"
)

// client talks to a node.
type client struct {
	http *http.Client
	base string
	key  string
	name string // of what it talks to, for people
}

// errUnreachable says that no node answers.
var errUnreachable = errors.New("no node answers")

// refusedError is a problem document.
type refusedError struct{ api.Problem }

// Error says what is wrong and what to do.
func (e *refusedError) Error() string {
	if e.Detail == "" {
		return plain(e.Title)
	}
	return plain(e.Title + ": " + commandsFor.Replace(e.Detail))
}

// commandsFor names the commands for what problem documents tell callers of the API to
// ask.
var commandsFor = strings.NewReplacer("GET /v1/apps.", "'picloud apps list'.", "GET /v1/incidents.", "'picloud incidents'.")

func (e *refusedError) exitCode() int {
	switch {
	case e.Status == http.StatusNotFound:
		return exitNotFound
	case e.Status == http.StatusTooManyRequests, e.Status >= 500:
		return exitBusy
	default:
		return exitRefused
	}
}

// errDenied says that this user may not use the socket.
var errDenied = errors.New("this user may not operate the node")

// client finds the node: by URL when one is given, else at its socket.
func (c *cli) client() *client {
	key := or(c.key, os.Getenv("PICLOUD_KEY"))
	if base := c.baseURL(key); base != "" {
		var d net.Dialer
		web := caller(d.DialContext)
		web.Proxy = http.ProxyFromEnvironment
		return &client{http: &http.Client{Transport: web}, base: base, key: key, name: withoutPassword(base)}
	}
	path := c.socketPath()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &client{http: &http.Client{Transport: caller(dial)}, base: "http://picloud", key: key, name: path}
}

// withoutPassword is a URL for people, who may pass it on.
func withoutPassword(base string) string {
	if u, err := url.Parse(base); err == nil {
		return u.Redacted()
	}
	return base
}

// patience is how long a node may take until it begins to answer. It is more
// than the node gives itself for a commit.
const patience = time.Minute

func caller(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext: dial, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: patience, IdleConnTimeout: time.Minute,
	}
}

// baseURL returns the URL that was given, or "" for the socket. PICLOUD_LISTEN,
// which a node and its operator may share, says where the node is when there is
// a key to show it and nothing says where its socket is.
func (c *cli) baseURL(key string) string {
	base := or(c.url, os.Getenv("PICLOUD_URL"))
	if base == "" && key != "" && or(c.socket, os.Getenv("PICLOUD_SOCKET"), c.data, os.Getenv("PICLOUD_DATA")) == "" {
		base = reachable(os.Getenv("PICLOUD_LISTEN"))
	}
	if base != "" && !strings.Contains(base, "://") {
		base = "http://" + base
	}
	return strings.TrimSuffix(base, "/")
}

// remote reports whether a URL says where the node is: it may be on another machine.
func (c *cli) remote() bool { return or(c.url, os.Getenv("PICLOUD_URL")) != "" }

// reachable turns an address to listen on into one to call.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// socketPath returns where the node's socket is, as the node itself finds it.
func (c *cli) socketPath() string {
	src := daemon.Source{File: c.config, Env: os.Environ(), Flags: map[string]string{}}
	if c.data != "" {
		src.Flags["data"] = c.data
	}
	if c.socket != "" {
		src.Flags["socket"] = c.socket
	}
	// A configuration that this user may not read, or with a fault, is as good as far as it
	// can be read: a node goes on with the one that it has.
	cfg, _ := daemon.Load(src)
	return cfg.SocketPath()
}

func or(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// appName returns the app that commands are about.
func (c *cli) appName() string { return or(c.app, os.Getenv("PICLOUD_APP"), picloud.DefaultApp) }

// appPath returns the path of something of the app; parts are escaped.
func (c *cli) appPath(parts ...string) string {
	var b strings.Builder
	b.WriteString("/v1/apps/" + url.PathEscape(c.appName()))
	for _, p := range parts {
		b.WriteString("/" + url.PathEscape(p))
	}
	return b.String()
}

// send sends a request and returns the response, whose body the caller closes,
// or the problem it carries.
func (cl *client) send(ctx context.Context, method, path string, body []byte, headers ...string) (*http.Response, error) {
	if body != nil {
		headers = append([]string{"Content-Type", "application/json"}, headers...)
	}
	return cl.sendFrom(ctx, method, path, bytes.NewReader(body), int64(len(body)), headers...)
}

// sendFrom is send for a body that is read as it is sent; a negative size: nobody
// knows how much it is.
func (cl *client) sendFrom(ctx context.Context, method, path string, body io.Reader, size int64, headers ...string) (*http.Response, error) {
	if size == 0 {
		body = http.NoBody
	}
	req, err := http.NewRequestWithContext(ctx, method, cl.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	req.ContentLength = size
	if cl.key != "" {
		req.Header.Set("Authorization", "Bearer "+cl.key)
	}
	for i := 1; i < len(headers); i += 2 {
		req.Header.Set(headers[i-1], headers[i])
	}
	res, err := cl.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errors.Is(err, syscall.EACCES) {
			return nil, fmt.Errorf("%w: %s is for root and the members of its group; 'sudo usermod -aG picloud $USER' and a new login make you one", errDenied, cl.name)
		}
		return nil, fmt.Errorf("%w at %s (%w); is it running? 'picloud doctor' looks closer", errUnreachable, cl.name, errors.Unwrap(err))
	}
	if res.StatusCode < 400 {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }() // only read
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	e := &refusedError{}
	if json.Unmarshal(text, &e.Problem) != nil || e.Title == "" {
		e.Problem = api.Problem{Title: "The answer is " + res.Status, Status: res.StatusCode}
	}
	return nil, e
}

// call sends in as JSON, when it is not nil, and reads the answer into out, when
// that is not nil.
func (c *cli) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	res, err := c.client().send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // only read
	return readAnswer(res.Body, out)
}

// readAnswer reads the body of a response into out, when that is not nil.
func readAnswer(body io.Reader, out any) error {
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}
