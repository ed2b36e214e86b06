package httpapi

import (
	"slices"

	"github.com/valyala/fasthttp"
)

// cors lets scripts of the app's allowed origins read the answer, once it is decided that
// the caller gets one. Credentials of the browser are never involved: keys and tokens are
// sent explicitly.
func (s *Server) cors(r *request) {
	r.admitted = true
	app := r.param("app")
	if app == "" {
		return
	}
	if origin := s.allowedOrigin(r.RequestCtx, app); origin != "" {
		r.Response.Header.Set("Access-Control-Allow-Origin", origin)
		r.Response.Header.Set("Access-Control-Expose-Headers", "Accept-Ranges, Content-Range, ETag, Expires, Location, Picloud-Run, Preference-Applied, Repr-Digest, Retry-After")
	}
}

// refused takes the headers of an admitted caller back: a script has refused it, as the
// node does.
func (*Server) refused(r *request) {
	r.admitted = false
	r.Response.Header.Del("Access-Control-Allow-Origin")
	r.Response.Header.Del("Access-Control-Expose-Headers")
}

// problemCORS lets scripts read why a caller was not admitted: a page has to know that its
// token has expired. Every origin may, since the origins of the app would tell that there
// is one.
func (*Server) problemCORS(r *request) {
	if !r.admitted && r.param("app") != "" && len(r.Request.Header.Peek("Origin")) > 0 {
		r.Response.Header.Set("Access-Control-Allow-Origin", "*")
	}
}

// allowedOrigin returns the request's origin when the app allows it.
func (s *Server) allowedOrigin(ctx *fasthttp.RequestCtx, app string) string {
	origin := string(ctx.Request.Header.Peek("Origin"))
	if origin == "" {
		return ""
	}
	a, err := s.cfg.Store.App(app)
	if err != nil {
		return ""
	}
	if slices.Contains(a.AllowedOrigins, "*") {
		return "*"
	}
	if slices.Contains(a.AllowedOrigins, origin) {
		return origin
	}
	return ""
}

// preflight answers OPTIONS.
func (s *Server) preflight(r *request, routes []*route) {
	s.cors(r)
	s.allowMethods(r, allow(routes), ownHeaders)
}

// ownHeaders are what this API has a use for.
const ownHeaders = "Authorization, Content-Digest, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Last-Event-ID, Prefer, Range, Repr-Digest"

// allowMethods answers OPTIONS where there are methods, which take some headers.
func (*Server) allowMethods(r *request, methods, headers string) {
	h := &r.Response.Header
	h.Set("Allow", methods)
	if len(h.Peek("Access-Control-Allow-Origin")) > 0 {
		h.Set("Access-Control-Allow-Methods", methods)
		h.Set("Access-Control-Allow-Headers", headers)
		h.Set("Access-Control-Max-Age", "600")
	}
	r.SetStatusCode(fasthttp.StatusNoContent)
}
