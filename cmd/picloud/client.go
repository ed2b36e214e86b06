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
	"text/tabwriter"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/httpapi"
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
type refusedError struct{ httpapi.Problem }

// Error says what is wrong and what to do.
func (e *refusedError) Error() string {
	if e.Detail == "" {
		return e.Title
	}
	return e.Title + ": " + e.Detail
}

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

// client finds the node: by URL when one is given, else at its socket.
func (c *cli) client() *client {
	base := or(c.url, os.Getenv("PICLOUD_URL"))
	key := or(c.key, os.Getenv("PICLOUD_KEY"))
	if base != "" {
		return &client{http: &http.Client{}, base: strings.TrimSuffix(base, "/"), key: key, name: base}
	}
	path := c.socketPath()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &client{http: &http.Client{Transport: &http.Transport{DialContext: dial}}, base: "http://picloud", key: key, name: path}
}

// socketPath returns where the node's socket is, as the node itself finds it.
func (c *cli) socketPath() string {
	if path := or(c.socket, os.Getenv("PICLOUD_SOCKET")); path != "" {
		return path
	}
	if data := or(c.data, os.Getenv("PICLOUD_DATA")); data != "" {
		return daemon.Config{Data: data}.SocketPath()
	}
	if cfg, err := daemon.Load(daemon.Source{File: c.config}); err == nil {
		return cfg.SocketPath()
	}
	return daemon.DefaultConfig().SocketPath()
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
	path := "/v1/apps/" + url.PathEscape(c.appName())
	for _, p := range parts {
		path += "/" + url.PathEscape(p)
	}
	return path
}

// send sends a request and returns the response, whose body the caller closes,
// or the problem it carries.
func (cl *client) send(ctx context.Context, method, path string, body []byte, headers ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, cl.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if cl.key != "" {
		req.Header.Set("Authorization", "Bearer "+cl.key)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := cl.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
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
		e.Problem = httpapi.Problem{Title: "The answer is " + res.Status, Status: res.StatusCode}
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
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

func (c *cli) printf(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }

// print writes JSON, indented for people.
func (c *cli) print(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	c.printf("%s\n", b)
	return nil
}

// table prints rows under a heading.
func (c *cli) table(heading string, rows [][]string) {
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(heading, " ", "\t"))
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	_ = w.Flush() // nothing else could be told where this cannot
}

// when writes a time for people.
func when(t httpapi.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
