package httpapi

import (
	"cmp"
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
	"github.com/picloud/picloud/pathpattern"
)

// route is one row of the table of routes.
type route struct {
	method  string
	pattern string             // segments in braces are parameters
	needs   picloud.Capability // of the caller, in {app} where the pattern has it; empty: the handler decides
	open    bool               // anybody may ask
	upload  bool               // the handler reads the body as it arrives
	page    bool               // the answer may be large: memory for it is reserved
	handler func(*request) error
	docs
}

// request is what a handler works on. Its strings are its own: fasthttp uses its
// memory again.
type request struct {
	*fasthttp.RequestCtx
	s         *Server
	route     *route
	params    []pathpattern.Param
	principal picloud.Principal
	admitted  bool // it is decided that the caller gets an answer
	sandboxed bool // the answer is an app's, which must not act as a page of this site

	body, input, answer budget.Lease // their memory
}

// param returns a parameter of the path.
func (r *request) param(name string) string {
	for _, p := range r.params {
		if p.Name == name {
			return p.Value
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
type router map[int][]place

// place is a pattern and its routes, one per method.
type place struct {
	pattern pathpattern.Pattern
	routes  []*route
}

func newRouter(routes []route) router {
	r := router{}
	for i := range routes {
		pattern := pathpattern.MustParse(routes[i].pattern)
		n, takesRest := pattern.Len()
		if takesRest {
			n = -n
		}
		at := slices.IndexFunc(r[n], func(p place) bool { return pathpattern.SameShape(p.pattern.String(), routes[i].pattern) })
		if at < 0 {
			r[n] = append(r[n], place{pattern: pattern})
			at = len(r[n]) - 1
		}
		r[n][at].routes = append(r[n][at].routes, &routes[i])
	}
	for _, list := range r {
		slices.SortStableFunc(list, func(a, b place) int { return a.pattern.Compare(b.pattern) })
	}
	return r
}

// find returns the routes at a path, one per method, and its parameters, none of
// which is empty.
func (r router) find(path string) ([]*route, []pathpattern.Param, error) {
	segments, err := pathpattern.Split(path)
	if err != nil {
		return nil, nil, errPath.Detailf("%v", err)
	}
	if routes, params := match(r[len(segments)], segments); routes != nil {
		return routes, params, nil
	}
	for n := len(segments); n > 0; n-- {
		if routes, params := match(r[-n], segments); routes != nil {
			return routes, params, nil
		}
	}
	return nil, nil, errRoute
}

func match(list []place, segments []string) ([]*route, []pathpattern.Param) {
	for _, p := range list {
		params, ok := p.pattern.Match(segments)
		if ok && !slices.ContainsFunc(params, func(p pathpattern.Param) bool { return p.Value == "" }) {
			return p.routes, params
		}
	}
	return nil, nil
}

// pathOf returns the path as it was sent, without the query, which may hold
// credentials.
func pathOf(ctx *fasthttp.RequestCtx) string {
	uri := string(ctx.Request.Header.RequestURI())
	if i := strings.IndexAny(uri, "?#"); i >= 0 {
		uri = uri[:i]
	}
	authority, absolute := authorityOf(uri)
	if !absolute {
		return uri
	}
	_, path, _ := strings.Cut(uri, "://"+authority)
	return cmp.Or(path, "/")
}

// handle answers one request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	r := &request{RequestCtx: ctx, s: s}
	defer s.finish(r, s.cfg.Now())
	path := pathOf(ctx)
	if err := cmp.Or(checkHead(ctx), s.checkHost(ctx, path)); err != nil {
		s.fail(ctx, err)
		return
	}
	serve := s.serveRoute
	if strings.HasPrefix(path, endpointsPrefix) {
		serve = s.invoke
	}
	if err := serve(r, path); err != nil {
		s.problemCORS(r)
		s.fail(ctx, err)
	}
}

// serveRoute answers a request to a route of the table.
func (s *Server) serveRoute(r *request, path string) error {
	routes, params, err := s.router.find(path)
	if err != nil {
		return err
	}
	r.params = params
	method := string(r.Method())
	switch method {
	case fasthttp.MethodOptions:
		s.preflight(r, routes)
		return nil
	case fasthttp.MethodHead:
		method = fasthttp.MethodGet
	}
	i := slices.IndexFunc(routes, func(o *route) bool { return o.method == method })
	if i < 0 {
		r.Response.Header.Set("Allow", allow(routes))
		return errMethod
	}
	r.route = routes[i]
	if err := r.checkQuery(); err != nil {
		return err
	}
	if err := s.admit(r); err != nil {
		return err
	}
	if r.route.needs != "" {
		s.cors(r)
	}
	if !r.route.upload {
		if err := r.readBody(maxBody); err != nil {
			return err
		}
	}
	if r.route.page && !wantsStream(r.RequestCtx) {
		if err := r.reserve(); err != nil {
			return err
		}
	}
	return r.route.handler(r)
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
func (s *Server) finish(r *request, began time.Time) {
	ctx := r.RequestCtx
	if p := recover(); p != nil {
		s.log.Error("request panicked", slog.String("method", string(ctx.Method())), slog.String("path", pathOf(ctx)), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		ctx.Response.Reset()
		s.fail(ctx, errInternal)
	}
	r.drain()
	r.settle()
	s.secure(ctx)
	if r.sandboxed {
		ctx.Response.Header.Add("Content-Security-Policy", appSandbox) // beside one of the app's own
	}
	s.metrics.count(ctx.Response.StatusCode())
	s.log.Debug("request", slog.String("method", string(ctx.Method())), slog.String("path", pathOf(ctx)), slog.Int("status", ctx.Response.StatusCode()), slog.Duration("took", s.cfg.Now().Sub(began)))
}

// secure sets what every response carries.
func (s *Server) secure(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.Set("X-Content-Type-Options", "nosniff")
	vary := "Accept, Origin"
	if own := h.Peek("Vary"); len(own) > 0 {
		vary = string(own) + ", " + vary
	}
	h.Set("Vary", vary)
	if len(h.Peek("Cache-Control")) == 0 {
		h.Set("Cache-Control", "no-store")
	}
}
