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
	"slices"
	"strconv"
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
	rules    []hostRule
	resolver Resolver
	client   *http.Client
}

// newFetcher returns a fetcher for the entries of scripts.http_hosts. Those that
// CheckHTTPHost refuses allow nothing.
func newFetcher(allowed []string, resolver Resolver) *fetcher {
	f := &fetcher{resolver: resolver}
	if resolver == nil {
		f.resolver = net.DefaultResolver
	}
	for _, entry := range allowed {
		if r, err := parseHostRule(entry); err == nil {
			f.rules = append(f.rules, r)
		}
	}
	f.client = &http.Client{
		Transport: &http.Transport{
			DialContext:         f.dial,
			MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 5 * time.Second, ForceAttemptHTTP2: true,
		},
		CheckRedirect: f.redirect,
	}
	return f
}

// check returns nil when a URL may be asked for. Where its host leads is decided
// when the connection is made.
func (f *fetcher) check(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return errFetchRefused.Detailf("%q: use http or https", u.Scheme)
	}
	if u.User != nil {
		return errFetchRefused.Detailf("a URL must not hold credentials; use the header Authorization")
	}
	if strings.ContainsFunc(u.Host, func(c rune) bool { return c >= utf8.RuneSelf }) { // the HTTP client would ask for another host
		return errFetchRefused.Detailf("the host %q is not ASCII; write it as DNS has it (xn--…)", u.Host)
	}
	if port, err := portOf(u); err != nil || len(f.matching(u.Hostname(), port)) == 0 {
		return errFetchRefused.Detailf("the host %q is not among those that scripts may ask; the node's operator adds it to scripts.http_hosts", u.Host)
	}
	return nil
}

// portOf returns the port of a URL, or that of its scheme.
func portOf(u *url.URL) (uint16, error) {
	text := u.Port()
	if text == "" {
		text = u.Scheme
	}
	switch text {
	case "http":
		return 80, nil
	case "https":
		return 443, nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err
}

// matching returns the rules about a host and a port.
func (f *fetcher) matching(host string, port uint16) []hostRule {
	var out []hostRule
	for i := range f.rules {
		if f.rules[i].matches(host, port) {
			out = append(out, f.rules[i])
		}
	}
	return out
}

// redirect lets a redirect be followed or not. Once a chain has left the origin of
// the script's request, only headers that hold no credentials go on: the HTTP client
// copies those of the first request for each redirect.
func (f *fetcher) redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return errFetchFailed.Detailf("there were more than %d redirects", maxRedirects)
	}
	if err := f.check(req.URL); err != nil {
		return err
	}
	away := func(r *http.Request) bool { return !sameOrigin(r.URL, via[0].URL) }
	if away(req) || slices.ContainsFunc(via, away) {
		for name := range req.Header {
			if !slices.Contains(followingHeaders, name) {
				req.Header.Del(name)
			}
		}
	}
	return nil
}

// followingHeaders go along with a redirect to another origin. Any other header may
// hold a credential, and Referer the query of the URL before.
var followingHeaders = []string{
	"Accept", "Accept-Language", "Cache-Control", "Content-Language", "Content-Type",
	"If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Range", "User-Agent",
}

func sameOrigin(a, b *url.URL) bool {
	portA, errA := portOf(a)
	portB, errB := portOf(b)
	return errA == nil && errB == nil && a.Scheme == b.Scheme && portA == portB && canonicalHost(a.Hostname()) == canonicalHost(b.Hostname())
}

// dial connects to an address that a rule about the host and the port permits. It
// resolves the host itself, so that what was decided about is what is connected to,
// and asks the kernel for this machine's addresses each time, since they change.
func (f *fetcher) dial(ctx context.Context, network, target string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err //nolint:wrapcheck // worded by the caller
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	rules := f.matching(host, uint16(port))
	ips, err := f.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	own, err := ownAddresses()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	err = errFetchRefused.Detailf("%q leads to this machine, its link or a private network; allow it in scripts.http_hosts by its address and port", host)
	for _, ip := range ips {
		ip = ip.Unmap()
		near := own
		if answersItself(ctx, dialer, ip) {
			near = append(near, ip)
		}
		if !slices.ContainsFunc(rules, func(r hostRule) bool { return r.permits(ip, near) }) {
			continue
		}
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, network, net.JoinHostPort(ip.String(), portText)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// ownAddresses returns the addresses of this machine's interfaces, the secondary ones
// included.
func ownAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the addresses of this machine: %w", err)
	}
	own := make([]netip.Addr, 0, len(list)+1)
	for _, a := range list {
		if p, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(p.IP); ok {
				own = append(own, ip.Unmap())
			}
		}
	}
	return own, nil
}

// answersItself reports whether the kernel would send from the address to which it
// sends: so it is with addresses that a local route gives to this machine without
// their being an interface's. Nothing is sent to find out.
func answersItself(ctx context.Context, d *net.Dialer, ip netip.Addr) bool {
	conn, err := d.DialContext(ctx, "udp", net.JoinHostPort(ip.String(), "9"))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // it was never used
	from, ok := conn.LocalAddr().(*net.UDPAddr)
	return ok && from.AddrPort().Addr().Unmap() == ip
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
	return h.fetcher.do(req, c)
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

// maxUnreserved is how much of an answer is read before the run has room for it.
const maxUnreserved = 64 << 10

// readAnswer reads an answer up to one byte more than it may have. A large one waits until
// the run may hold the largest: how large it is turns out at its end.
func readAnswer(ctx context.Context, r io.Reader, c *call) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxUnreserved))
	if err != nil || len(body) < maxUnreserved {
		return body, err //nolint:wrapcheck // worded by the caller
	}
	if err := c.answersBytes(ctx, maxFetched); err != nil {
		return nil, err
	}
	rest, err := io.ReadAll(io.LimitReader(r, maxFetched+1-maxUnreserved))
	return append(body, rest...), err //nolint:wrapcheck // as above
}

func (f *fetcher) do(req *http.Request, c *call) (any, error) {
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
	body, err := readAnswer(req.Context(), res.Body, c)
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
