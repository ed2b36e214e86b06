package httpapi

import (
	"bytes"
	"net"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
)

// admit authenticates the caller and checks that the route is open to it.
func (s *Server) admit(r *request) error {
	if r.route.open {
		return nil
	}
	if r.route.needs == "" {
		return nil // the handler decides
	}
	p, err := s.who(r)
	if err != nil {
		return err
	}
	r.principal = p
	return s.may(p, r.route.needs, r.param("app"))
}

// who returns the principal of a request: by its bearer credential, or on the
// Unix socket by what the kernel says. Anonymous is not an error.
func (s *Server) who(r *request) (picloud.Principal, error) {
	bearer, given := bearerOf(r.RequestCtx)
	if given {
		return s.cfg.Authority.Authenticate(bearer)
	}
	if conn, ok := r.Conn().(*net.UnixConn); ok {
		return auth.PeerPrincipal(conn, s.cfg.OperatorGroup)
	}
	return picloud.Principal{}, nil
}

// bearerOf returns the credential of the Authorization header. One of another
// scheme, or one of several, is given, and empty.
func bearerOf(ctx *fasthttp.RequestCtx) (bearer string, given bool) {
	all := ctx.Request.Header.PeekAll("Authorization")
	if len(all) == 0 || len(all) == 1 && len(all[0]) == 0 {
		return "", false
	}
	if len(all) > 1 {
		return "", true
	}
	h := all[0]
	const scheme = "bearer "
	if len(h) < len(scheme) || !bytes.EqualFold(h[:len(scheme)], []byte(scheme)) {
		return "", true
	}
	return string(bytes.TrimSpace(h[len(scheme):])), true
}

// may answers whether p has a capability; in an app, when there is one.
// A caller that cannot see an app gets the answer for one that does not exist.
func (s *Server) may(p picloud.Principal, c picloud.Capability, app string) error {
	if p.Kind == picloud.KindAnonymous {
		return picloud.ErrUnauthenticated
	}
	if app != "" {
		if !picloud.CanSee(p, app) {
			return picloud.ErrAppNotFound
		}
		if _, err := s.cfg.Store.App(app); err != nil {
			return err
		}
	}
	if !picloud.Can(p, c, app) {
		return picloud.ErrForbidden.Detailf("this needs a key with the scope %s", picloud.ScopeOf(c))
	}
	return nil
}

// address returns where a request comes from: the peer, or what a trusted proxy
// says. Empty on the Unix socket.
func (s *Server) address(ctx *fasthttp.RequestCtx) string {
	peer, ok := ctx.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	addr := peer.AddrPort().Addr().Unmap()
	// Some proxies add a line of their own instead of a word to the line they got:
	// reading the first line only would believe the client.
	lines := bytes.Join(ctx.Request.Header.PeekAll("X-Forwarded-For"), []byte(","))
	hops := strings.Split(string(lines), ",")
	for i := len(hops) - 1; i >= 0 && s.trusted(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = next.Unmap()
	}
	return addr.String()
}

func (s *Server) trusted(addr netip.Addr) bool {
	for _, p := range s.cfg.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
