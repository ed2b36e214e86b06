package httpapi

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
)

// errHost is the one answer to requests that were sent to a host that is not this
// node. It is the same whatever the request asks for.
var errHost = &picloud.Error{
	Code: picloud.CodeInvalid, Type: "host-unknown", Title: "This node is not known by that host name",
	Detail: "Use its IP address, its host name or localhost, or have its operator add the name in the address to the setting http.allowed_hosts.",
}

// checkHost refuses requests that were sent to a host that is not this node. A page of
// another site whose name is made to lead here (DNS rebinding) is same-origin with the
// node in the eyes of the browser, and only the name gives it away.
//
// Requests on the Unix socket are not checked: browsers cannot send them. Neither is
// /healthz, which says nothing and is asked for by load balancers under any name.
func (s *Server) checkHost(ctx *fasthttp.RequestCtx, path string) error {
	if _, local := ctx.Conn().(*net.UnixConn); local || path == "/healthz" {
		return nil
	}
	h := &ctx.Request.Header
	asked := []string{string(h.Host())}
	if target, ok := authorityOf(string(h.RequestURI())); ok {
		asked = append(asked, target)
	}
	if peer, ok := ctx.RemoteAddr().(*net.TCPAddr); ok && s.trusted(peer.AddrPort().Addr().Unmap()) {
		for _, line := range h.PeekAll("X-Forwarded-Host") {
			asked = append(asked, strings.Split(string(line), ",")...)
		}
	}
	for _, host := range asked {
		if !s.knowsHost(strings.TrimSpace(host)) {
			return errHost
		}
	}
	return nil
}

// knowsHost reports whether the value of a Host header names this node; the port does
// not count.
func (s *Server) knowsHost(host string) bool {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		literal, port, closed := strings.Cut(inner, "]")
		addr, err := netip.ParseAddr(literal)
		return closed && err == nil && addr.Is6() && (port == "" || port[0] == ':' && isPort(port[1:]))
	}
	name, port, _ := strings.Cut(host, ":")
	if !isPort(port) {
		return false
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || slices.ContainsFunc(s.cfg.Hosts(), func(known string) bool {
		domain, below := strings.CutPrefix(known, "*")
		return name == known || below && len(name) > len(domain) && strings.HasSuffix(name, domain)
	})
}

func isPort(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c < '0' || c > '9' })
}

// authorityOf returns the host and port of a request target in absolute form, which
// counts more than the Host header (RFC 9112, section 3.2.2).
func authorityOf(target string) (authority string, ok bool) {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || strings.ContainsAny(scheme, "/?#") {
		return "", false
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest, true
}
