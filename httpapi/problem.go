package httpapi

import (
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

// statusOf is the one place where classes of errors become status codes.
var statusOf = map[picloud.Code]int{
	picloud.CodeInvalid:         fasthttp.StatusBadRequest,
	picloud.CodeUnauthenticated: fasthttp.StatusUnauthorized,
	picloud.CodeForbidden:       fasthttp.StatusForbidden,
	picloud.CodeNotFound:        fasthttp.StatusNotFound,
	picloud.CodeConflict:        fasthttp.StatusConflict,
	picloud.CodeGone:            fasthttp.StatusGone,
	picloud.CodePrecondition:    fasthttp.StatusPreconditionFailed,
	picloud.CodeTooLarge:        fasthttp.StatusRequestEntityTooLarge,
	picloud.CodeUnsupportedType: fasthttp.StatusUnsupportedMediaType,
	picloud.CodeUnprocessable:   fasthttp.StatusUnprocessableEntity,
	picloud.CodeTooMany:         fasthttp.StatusTooManyRequests,
	picloud.CodeInternal:        fasthttp.StatusInternalServerError,
	picloud.CodeUnavailable:     fasthttp.StatusServiceUnavailable,
	picloud.CodeNoSpace:         fasthttp.StatusInsufficientStorage,
}

// Errors of the edge itself.
var (
	errRoute     = &picloud.Error{Code: picloud.CodeNotFound, Type: "no-such-route", Title: "There is nothing at this address", Detail: "GET /v1/openapi.json lists what there is."}
	errPath      = &picloud.Error{Code: picloud.CodeInvalid, Type: "path-invalid", Title: "The path is not valid"}
	errMethod    = &picloud.Error{Code: picloud.CodeInvalid, Type: "method-not-allowed", Title: "The method is not allowed here"}
	errBody      = &picloud.Error{Code: picloud.CodeInvalid, Type: "body-invalid", Title: "The body is not what is expected here"}
	errType      = &picloud.Error{Code: picloud.CodeUnsupportedType, Type: "content-type", Title: "The content type is not accepted here", Detail: "Send JSON with 'Content-Type: application/json'."}
	errQuery     = &picloud.Error{Code: picloud.CodeInvalid, Type: "query-invalid", Title: "The query is not valid"}
	errTooLarge  = &picloud.Error{Code: picloud.CodeTooLarge, Type: "body-too-large", Title: "The request is too large"}
	errTimeout   = &picloud.Error{Code: picloud.CodeInvalid, Type: "timeout", Title: "The request did not arrive in time", Detail: "Send it again, faster."}
	errMalformed = &picloud.Error{Code: picloud.CodeInvalid, Type: "malformed", Title: "This is not HTTP as it should be"}
	errInternal  = &picloud.Error{Code: picloud.CodeInternal, Type: "internal", Title: "Something went wrong inside the node", Detail: "The log of the node says what. Whether the request took effect is not certain."}
)

// fail answers with the problem that err is. What is not public is logged, and
// answered without a hint.
func (s *Server) fail(ctx *fasthttp.RequestCtx, err error) {
	public := picloud.AsError(err)
	if public == nil {
		s.log.Error("request failed", slog.String("method", string(ctx.Method())), slog.String("path", pathOf(ctx)), slog.Any("err", err))
		public = errInternal
	}
	status := statusOf[public.Code]
	switch {
	case errors.Is(public, errMethod):
		status = fasthttp.StatusMethodNotAllowed
	case errors.Is(public, errTimeout):
		status = fasthttp.StatusRequestTimeout
	case errors.Is(public, errHost):
		status = fasthttp.StatusMisdirectedRequest
	}
	s.problem(ctx, status, public)
}

func (s *Server) problem(ctx *fasthttp.RequestCtx, status int, e *picloud.Error) {
	p := api.Problem{Type: api.ProblemPrefix + e.Type, Title: e.Title, Status: status, Detail: e.Detail, Topic: e.Topic}
	if e.RetryAfter > 0 {
		p.RetryAfter = int(math.Ceil(e.RetryAfter.Seconds()))
		ctx.Response.Header.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	if status == fasthttp.StatusUnauthorized {
		ctx.Response.Header.Set("WWW-Authenticate", `Bearer realm="picloud"`)
	}
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and numbers
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/problem+json")
	ctx.Response.SetBodyRaw(body)
}

// refuse answers what is not a request.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &small):
		s.problem(ctx, fasthttp.StatusRequestHeaderFieldsTooLarge, errTooLarge.Detailf("the head of the request is too large; use fewer or shorter headers and a shorter URL"))
	case errors.As(err, &timeout) && timeout.Timeout():
		s.fail(ctx, errTimeout)
	default:
		s.fail(ctx, errMalformed)
	}
	s.secure(ctx)
	ctx.SetConnectionClose()
}
