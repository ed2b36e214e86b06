package httpapi

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/pathpattern"
	"github.com/picloud/picloud/script"
	"github.com/picloud/picloud/sdk"
)

// Endpoints are answered by scripts, below /apps/{app}.

const endpointsPrefix = "/apps/"

// appSandbox gives what apps answer an origin of its own in browsers, without storage
// and cookies: pages of an app cannot act in the name of the node or of another app.
const appSandbox = "sandbox allow-scripts allow-forms allow-popups allow-downloads allow-modals"

// maxEndpointBody bounds what a script gets of a request.
const maxEndpointBody = 1 << 20

// invoke answers a request to an endpoint.
func (s *Server) invoke(r *request, path string) error {
	app, rest, _ := strings.Cut(strings.TrimPrefix(path, endpointsPrefix), "/")
	r.params = []pathpattern.Param{{Name: "app", Value: app}}
	r.sandboxed = true
	all, err := s.cfg.Store.Endpoints(app)
	if err != nil {
		return errRoute // which apps there are is not public
	}
	method := string(r.Method())
	preflight := method == fasthttp.MethodOptions && len(r.Request.Header.Peek("Access-Control-Request-Method")) > 0
	matching := candidates(all, "/"+rest)
	for _, c := range matching {
		if c.answers(method, preflight) {
			return s.answer(r, c.endpoint, "/"+rest, c.params)
		}
	}
	if len(matching) == 0 {
		return errRoute
	}
	methods := []string{fasthttp.MethodOptions}
	for _, c := range matching {
		if c.endpoint.Method == "*" {
			methods = append(methods, "DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
		} else {
			methods = append(methods, c.endpoint.Method)
		}
	}
	slices.Sort(methods)
	allowed := strings.Join(slices.Compact(methods), ", ")
	if method == fasthttp.MethodOptions {
		s.cors(r)
		s.allowMethods(r, allowed, headersAsked(r))
		return nil
	}
	r.Response.Header.Set("Allow", allowed)
	return errMethod
}

// candidate is an endpoint whose path matches a request, whatever its method.
type candidate struct {
	endpoint *picloud.Endpoint
	pattern  pathpattern.Pattern
	params   []pathpattern.Param
}

// candidates returns the endpoints that match a path, the preferred ones first: the
// order of their patterns decides, then a method of its own wins over any.
func candidates(all []picloud.Endpoint, path string) []candidate {
	segments, err := pathpattern.Split(path)
	if err != nil {
		return nil
	}
	var list []candidate
	for i := range all {
		pattern, err := pathpattern.Parse(all[i].Path)
		if err != nil {
			continue // the store refuses such a path
		}
		if params, ok := pattern.Match(segments); ok {
			list = append(list, candidate{&all[i], pattern, params})
		}
	}
	slices.SortFunc(list, func(a, b candidate) int {
		order := a.pattern.Compare(b.pattern)
		switch {
		case order == 0 && a.endpoint.Method == "*" && b.endpoint.Method != "*":
			order = 1
		case order == 0 && a.endpoint.Method != "*" && b.endpoint.Method == "*":
			order = -1
		}
		return cmp.Or(order, strings.Compare(a.endpoint.Name, b.endpoint.Name))
	})
	return list
}

// answers reports whether the endpoint answers requests of a method. Preflights that
// only an endpoint for any method would answer are left to the node.
func (c *candidate) answers(method string, preflight bool) bool {
	own := c.endpoint.Method
	return own == method || own == "*" && !preflight || method == fasthttp.MethodHead && own == fasthttp.MethodGet
}

// headersAsked are the headers that a page wants to send: an app has its own.
func headersAsked(r *request) string {
	asked := string(r.Request.Header.Peek("Access-Control-Request-Headers"))
	for name := range strings.SplitSeq(asked, ",") {
		if !sdk.HeaderAllowed(strings.TrimSpace(name), "") {
			return ownHeaders
		}
	}
	return asked
}

// answer lets the script of an endpoint answer.
func (s *Server) answer(r *request, e *picloud.Endpoint, path string, params []pathpattern.Param) error {
	if err := s.admitTo(r, e); err != nil {
		return err
	}
	if s.cors(r); len(r.Response.Header.Peek("Access-Control-Allow-Origin")) > 0 {
		r.Response.Header.Set("Access-Control-Expose-Headers", "*") // an app has its own
	}
	r.Request.Header.Del("Cookie") // cookies belong to the whole site
	input, err := r.readInput(path, params)
	if err != nil {
		return err
	}
	about := map[string]any{"endpoint": e.Name, "kind": "http", "caller": nil}
	if r.principal.Kind != picloud.KindAnonymous {
		about["caller"] = map[string]any{"kind": r.principal.Kind, "name": r.principal.Name}
	}
	if prefersLater(r) {
		return s.acceptLater(r, e, picloud.LaterRequest{Input: input, About: about})
	}
	also, err := picloud.EncodeJSON(about)
	if err != nil {
		return err
	}
	res, err := s.cfg.Scripts.Do(r.patience(), script.Job{
		App: e.App, Script: e.Script, Export: e.Export, Input: input, Context: also, Cause: "endpoint:" + e.Name, Limits: script.Limits{Total: e.Timeout},
		Anonymous: r.principal.Kind == picloud.KindAnonymous, Accept: sdk.CheckOutput,
		Sender: r.waits, Begin: r.reserveOutput,
	})
	err = endpointFault(err)
	switch {
	case errors.Is(err, picloud.ErrUnauthenticated):
		s.refused(r)
	case res.RunID != "":
		r.Response.Header.Set("Picloud-Run", res.RunID)
	}
	if err != nil {
		return err
	}
	return r.replyOutput(res.Output, res.Response)
}

// admitTo authenticates the caller, and checks that the endpoint is open to it.
func (s *Server) admitTo(r *request, e *picloud.Endpoint) error {
	if e.Auth == picloud.EndpointPublic {
		s.recognise(r, e.App)
		return nil
	}
	p, err := s.who(r)
	if err != nil {
		return err
	}
	r.principal = p
	r.Request.Header.Del("Authorization")
	return s.may(p, picloud.AppInvoke, e.App)
}

// recognise authenticates the caller of an endpoint that is open to all. The script learns who it is; a
// credential that is no API key may be meant for the script.
func (s *Server) recognise(r *request, app string) {
	if p, err := s.who(r); err == nil && picloud.Can(p, picloud.AppInvoke, app) {
		r.principal = p
	}
}

// endpointFault words the failure of a script for its caller. The details are for
// the operator, who finds the run by its id.
func endpointFault(err error) error {
	fault, ok := errors.AsType[*script.Error](err)
	switch {
	case !ok: // no error, too
		return err
	case fault.Reason == script.ReasonNoWorker:
		return picloud.ErrScriptWorker
	case fault.Unavailable():
		return picloud.ErrScriptsBusy
	case fault.Unauthenticated():
		return picloud.ErrUnauthenticated
	}
	return errScript
}

var errScript = &picloud.Error{
	Code: picloud.CodeInternal, Type: "script-failed", Title: "The app failed to answer",
	Detail: "Its operator finds the cause by the id in the header Picloud-Run.",
}
