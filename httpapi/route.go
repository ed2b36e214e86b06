package httpapi

import (
	"context"
	"log/slog"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
)

// route is one row of the table of routes.
type route struct {
	method  string
	pattern string             // segments in braces are parameters
	needs   picloud.Capability // of the caller, in {app} where the pattern has it; empty: the handler decides
	open    bool               // anybody may ask
	upload  bool               // the handler reads the body as it arrives
	handler func(*request) error
	docs
}

// request is what a handler works on. Its strings are its own: fasthttp uses its
// memory again.
type request struct {
	*fasthttp.RequestCtx
	s         *Server
	route     *route
	params    []param
	principal picloud.Principal
}

type param struct{ name, value string }

// param returns a parameter of the path.
func (r *request) param(name string) string {
	for _, p := range r.params {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

// patience is the context of what a request asks the node to do. It does not
// end with the server's, as fasthttp's own does: what was begun is finished, and
// the store answers everybody when it stops.
func (*request) patience() context.Context { return context.Background() }

// router finds routes by the number of their segments. Those whose last parameter
// takes the rest of the path are under the negative of it.
type router map[int][]compiled

type compiled struct {
	segments []string
	routes   []*route // one per method
}

func newRouter(routes []route) router {
	r := router{}
	for i := range routes {
		segments := strings.Split(routes[i].pattern, "/")[1:]
		n := len(segments)
		if strings.HasSuffix(segments[n-1], "...}") {
			n = -n
		}
		at := slices.IndexFunc(r[n], func(c compiled) bool { return slices.Equal(c.segments, segments) })
		if at < 0 {
			r[n] = append(r[n], compiled{segments: segments})
			at = len(r[n]) - 1
		}
		r[n][at].routes = append(r[n][at].routes, &routes[i])
	}
	return r
}

// find returns the routes at a path, one per method, and its parameters.
func (r router) find(path string) ([]*route, []param, error) {
	raw := strings.Split(path, "/")
	if raw[0] != "" {
		return nil, nil, errPath.Detailf("begin it with '/'")
	}
	segments := raw[1:]
	routes, params, err := r.among(r[len(segments)], segments)
	for n := len(segments); routes == nil && err == nil && n > 0; n-- {
		if rest := r[-n]; rest != nil {
			joined := append(slices.Clone(segments[:n-1]), strings.Join(segments[n-1:], "/"))
			routes, params, err = r.among(rest, joined)
		}
	}
	if routes == nil && err == nil {
		err = errRoute
	}
	return routes, params, err
}

func (router) among(list []compiled, segments []string) ([]*route, []param, error) {
	for _, c := range list {
		params, ok, err := c.match(segments)
		if ok || err != nil {
			return c.routes, params, err
		}
	}
	return nil, nil, nil
}

func (c *compiled) match(segments []string) (params []param, ok bool, err error) {
	for i, want := range c.segments {
		if !strings.HasPrefix(want, "{") {
			if want != segments[i] {
				return nil, false, nil
			}
			continue
		}
		value, err := url.PathUnescape(segments[i])
		if err != nil {
			return nil, false, errPath.Detailf("%q is not percent-encoded as it should be", want)
		}
		if value == "" {
			return nil, false, nil
		}
		params = append(params, param{name: strings.TrimSuffix(want[1:len(want)-1], "..."), value: strings.Clone(value)})
	}
	return params, true, nil
}

// pathOf returns the path as it was sent, without the query, which may hold
// credentials.
func pathOf(ctx *fasthttp.RequestCtx) string {
	uri := string(ctx.Request.Header.RequestURI())
	if i := strings.IndexAny(uri, "?#"); i >= 0 {
		uri = uri[:i]
	}
	if scheme := strings.Index(uri, "://"); scheme > 0 && !strings.HasPrefix(uri, "/") { // the form that proxies use
		uri = uri[scheme+3:]
		if i := strings.IndexByte(uri, '/'); i >= 0 {
			return uri[i:]
		}
		return "/"
	}
	return uri
}

// handle answers one request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	defer s.finish(ctx, s.cfg.Now())
	path := pathOf(ctx)
	r := &request{RequestCtx: ctx, s: s}
	if strings.HasPrefix(path, endpointsPrefix) {
		if err := s.invoke(r, path); err != nil {
			s.fail(ctx, err)
		}
		return
	}
	routes, params, err := s.router.find(path)
	if err != nil {
		s.fail(ctx, err)
		return
	}
	r.params = params
	s.cors(r)
	method := string(ctx.Method())
	switch method {
	case fasthttp.MethodOptions:
		s.preflight(r, routes)
		return
	case fasthttp.MethodHead:
		method = fasthttp.MethodGet
	}
	i := slices.IndexFunc(routes, func(o *route) bool { return o.method == method })
	if i < 0 {
		ctx.Response.Header.Set("Allow", allow(routes))
		s.fail(ctx, errMethod)
		return
	}
	r.route = routes[i]
	err = s.admit(r)
	if err == nil && !r.route.upload {
		err = r.readBody(maxBody)
	}
	if err == nil {
		err = r.route.handler(r)
	}
	if err != nil {
		s.fail(ctx, err)
	}
}

// allow lists the methods of a path.
func allow(routes []*route) string {
	methods := []string{fasthttp.MethodOptions}
	for _, r := range routes {
		methods = append(methods, r.method)
		if r.method == fasthttp.MethodGet {
			methods = append(methods, fasthttp.MethodHead)
		}
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// finish is done after every request.
func (s *Server) finish(ctx *fasthttp.RequestCtx, began time.Time) {
	if p := recover(); p != nil {
		s.log.Error("request panicked", slog.String("method", string(ctx.Method())), slog.String("path", pathOf(ctx)), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		ctx.Response.Reset()
		s.fail(ctx, errInternal)
	}
	(&request{RequestCtx: ctx, s: s}).drain()
	s.secure(ctx)
	s.metrics.count(ctx.Response.StatusCode())
	s.log.Debug("request", slog.String("method", string(ctx.Method())), slog.String("path", pathOf(ctx)), slog.Int("status", ctx.Response.StatusCode()), slog.Duration("took", s.cfg.Now().Sub(began)))
}

// secure sets what every response carries.
func (s *Server) secure(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept, Origin")
	if len(h.Peek("Cache-Control")) == 0 {
		h.Set("Cache-Control", "no-store")
	}
}
