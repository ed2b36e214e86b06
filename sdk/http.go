package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/picloud/picloud"
)

// Limits of requests that scripts make.
const (
	maxFetched   = 1 << 20 // bytes of an answer
	maxRedirects = 5
	fetchWithin  = 10 * time.Second // if the script does not say
	fetchAtMost  = 30 * time.Second
)

var (
	errFetchRefused = &picloud.Error{Code: picloud.CodeForbidden, Type: "http-not-allowed", Title: "The request is not allowed"}
	errFetchFailed  = &picloud.Error{Code: picloud.CodeUnavailable, Type: "http-failed", Title: "The request failed"}
	errFetchedLarge = &picloud.Error{Code: picloud.CodeTooLarge, Type: "http-answer-too-large", Title: "The answer is too large", Detail: fmt.Sprintf("It has more than %d bytes.", maxFetched)}
)

// fetcher makes requests to the hosts that it is allowed to.
type fetcher struct {
	allowed []string // host, host:port, *.domain, or * for any
	client  *http.Client
}

func newFetcher(allowed []string) *fetcher {
	f := &fetcher{allowed: allowed}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	f.client = &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return f.dial(ctx, dialer, network, addr)
			},
			MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 5 * time.Second, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirects {
				return errFetchFailed.Detailf("there were more than %d redirects", maxRedirects)
			}
			return f.check(req.URL)
		},
	}
	return f
}

// check returns nil when a URL may be asked for.
func (f *fetcher) check(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return errFetchRefused.Detailf("%q: use http or https", u.Scheme)
	}
	if u.User != nil {
		return errFetchRefused.Detailf("a URL must not hold credentials; use the header Authorization")
	}
	for _, a := range f.allowed {
		if strings.EqualFold(a, u.Host) || strings.EqualFold(a, u.Hostname()) || a == "*" {
			return nil
		}
		if domain, ok := strings.CutPrefix(strings.ToLower(a), "*."); ok && strings.HasSuffix(strings.ToLower(u.Hostname()), "."+domain) {
			return nil
		}
	}
	return errFetchRefused.Detailf("the host %q is not among those that scripts may ask; the node's operator adds it to scripts.http_hosts", u.Host)
}

// dial connects to a host by the address that was checked, so that no name leads to
// this machine, its neighbours by link, or what clouds keep there, unless just that
// is allowed by its address or as localhost.
func (f *fetcher) dial(ctx context.Context, d *net.Dialer, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err //nolint:wrapcheck // worded by the caller
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	err = errFetchRefused.Detailf("%q is this machine or its link; allow it by its address", host)
	for _, ip := range ips {
		if ip = ip.Unmap(); (inward(ip) || isOwn(ctx, d, ip)) && !f.named(host, ip) {
			continue
		}
		var conn net.Conn
		if conn, err = d.DialContext(ctx, network, net.JoinHostPort(ip.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func inward(ip netip.Addr) bool {
	return ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsInterfaceLocalMulticast()
}

// isOwn reports whether an address is one of this machine's: then it is also the one
// from which that would be spoken to. Nothing is sent to find out.
func isOwn(ctx context.Context, d *net.Dialer, ip netip.Addr) bool {
	conn, err := d.DialContext(ctx, "udp", net.JoinHostPort(ip.String(), "9"))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // it was never used
	from, ok := conn.LocalAddr().(*net.UDPAddr)
	return ok && from.AddrPort().Addr().Unmap() == ip
}

// named reports whether an address is allowed by name: as itself, or localhost.
func (f *fetcher) named(host string, ip netip.Addr) bool {
	for _, a := range f.allowed {
		if h, _, err := net.SplitHostPort(a); err == nil {
			a = h
		}
		if a == ip.String() || (strings.EqualFold(a, "localhost") && strings.EqualFold(host, "localhost")) {
			return true
		}
	}
	return false
}

func (h *Host) fetch(ctx context.Context, c *call) (any, error) {
	var target string
	var o struct {
		Method  string            `json:"method"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"`
		Binary  bool              `json:"binary"`
		Timeout float64           `json:"timeout"` // seconds
	}
	if err := c.read(&target, &o); err != nil {
		return nil, err
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return nil, errArgument.Detailf("%q is not a URL such as https://example.org/x", target)
	}
	if err := h.fetcher.check(u); err != nil {
		return nil, err
	}
	body, err := requestBody(o.Body, o.Binary)
	if err != nil {
		return nil, err
	}
	within := fetchWithin
	if o.Timeout > 0 {
		within = time.Duration(min(o.Timeout, fetchAtMost.Seconds()) * float64(time.Second))
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, o.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errArgument.Detailf("the method %q is not one", o.Method)
	}
	req.Header.Set("User-Agent", "PiCloud")
	for name, value := range o.Headers {
		req.Header.Set(name, value)
	}
	return h.fetcher.do(req)
}

// requestBody is the body of a request: text, or bytes as base64.
func requestBody(raw json.RawMessage, binary bool) ([]byte, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if binary {
		return fromBase64(raw)
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, errArgument.Detailf("the body has to be text or bytes; use JSON.stringify")
	}
	return []byte(text), nil
}

func (f *fetcher) do(req *http.Request) (any, error) {
	res, err := f.client.Do(req)
	if err != nil {
		if e := picloud.AsError(err); e != nil {
			return nil, e
		}
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the address, which may hold a secret
		}
		return nil, errFetchFailed.Detailf("%v", err)
	}
	defer func() { _ = res.Body.Close() }() // only read
	body, err := io.ReadAll(io.LimitReader(res.Body, maxFetched+1))
	switch {
	case err != nil:
		return nil, errFetchFailed.Detailf("%v", err)
	case len(body) > maxFetched:
		return nil, errFetchedLarge
	}
	headers := map[string]string{}
	for name, values := range res.Header {
		headers[strings.ToLower(name)] = strings.ToValidUTF8(strings.Join(values, ", "), "\uFFFD")
	}
	out := map[string]any{"status": res.StatusCode, "headers": headers, "body": body, "binary": true} // base64
	if utf8.Valid(body) {
		out["body"], out["binary"] = string(body), false
	}
	return out, nil
}
