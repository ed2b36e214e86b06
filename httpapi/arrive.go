package httpapi

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud/budget"
)

// How bodies of requests arrive. They are read here and not by the HTTP library,
// since that would either hold files in memory or hide what goes wrong.

// checkHead refuses heads that a proxy in front of the node may frame in another way than
// the HTTP library, which is lenient. The connection ends then, as what follows may be
// part of the body.
func checkHead(ctx *fasthttp.RequestCtx) error {
	length, coding := false, false
	for line := range bytes.Lines(ctx.Request.Header.RawHeaders()) {
		field, ok := bytes.CutSuffix(line, []byte("\r\n"))
		name, _, _ := bytes.Cut(field, []byte(":"))
		if !ok || bytes.ContainsAny(name, " \t") || bytes.IndexByte(field, '\n') >= 0 {
			ctx.SetConnectionClose()
			return errMalformed.Detailf("a line of the head has a space in the name of its field, is folded, or does not end in CR LF")
		}
		length = length || bytes.EqualFold(name, []byte("Content-Length"))
		coding = coding || bytes.EqualFold(name, []byte("Transfer-Encoding"))
	}
	if length && coding {
		ctx.SetConnectionClose()
		return errMalformed.Detailf("it has both Content-Length and Transfer-Encoding: send one of them")
	}
	return nil
}

// expect decides about a request that waits for 100 Continue before it sends its body, and
// answers those that would be refused anyway. The connection ends after a refusal.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	r := &request{RequestCtx: ctx, s: s}
	path := pathOf(ctx)
	err := checkHead(ctx)
	if err == nil {
		err = s.checkHost(ctx, path)
	}
	if limit := s.bodyLimit(string(ctx.Method()), path); err == nil && int64(ctx.Request.Header.ContentLength()) > limit {
		err = errTooLarge.Detailf("send at most %d bytes", limit)
	}
	if err == nil {
		return fasthttp.StatusContinue
	}
	defer s.finish(r, s.cfg.Now())
	s.fail(ctx, err)
	return ctx.Response.StatusCode()
}

// bodyLimit returns how many bytes the body of a request may have.
func (s *Server) bodyLimit(method, path string) int64 {
	if strings.HasPrefix(path, endpointsPrefix) {
		return maxEndpointBody
	}
	routes, _, err := s.router.find(path)
	if err == nil && slices.ContainsFunc(routes, func(o *route) bool { return o.method == method && o.upload }) {
		return s.cfg.Store.MaxFile()
	}
	return maxBody
}

// readBody reads the body of a request that is no file, up to a limit. The request
// is there as a whole then.
func (r *request) readBody(limit int) error {
	in := r.RequestBodyStream()
	if in == nil {
		return r.begin()
	}
	n := r.Request.Header.ContentLength()
	if n > limit {
		return errTooLarge.Detailf("send at most %d bytes", limit)
	}
	if n > unmetered {
		var err error
		if r.body, err = r.await(budget.Bodies, bodyMemory(n)); err != nil {
			return err
		}
	}
	body, err := r.readWhole(in, n, limit)
	if err != nil {
		return err
	}
	r.Request.SetBodyRaw(body)
	return r.begin()
}

// bodyMemory is what a body of n bytes takes: itself, and what is made of it.
func bodyMemory(n int) int { return 2 * n }

// readWhole reads a body of n bytes, or, if n is negative, one in chunks, for which memory
// is drawn as it grows.
func (r *request) readWhole(in io.Reader, n, limit int) ([]byte, error) {
	if n >= 0 {
		body := make([]byte, n)
		if _, err := io.ReadFull(in, body); err != nil {
			return nil, bodyFault(err)
		}
		return body, nil
	}
	body := make([]byte, 0, unmetered)
	r.body = r.lease(budget.Bodies)
	for {
		if len(body) > limit {
			return nil, errTooLarge.Detailf("send at most %d bytes", limit)
		}
		if len(body) == cap(body) {
			grown := min(2*cap(body), limit+1)
			if err := r.body.Resize(bodyMemory(grown)); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, grown), body...)
		}
		n, err := in.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return nil, bodyFault(err)
		}
	}
}

// bodyFault words what a body failed at to arrive.
func bodyFault(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errTimeout
	}
	return errMalformed.Detailf("the body ends before its end")
}

// alive gives an answer more time, because it moves.
func (r *request) alive() { _ = r.Conn().SetWriteDeadline(time.Now().Add(r.s.cfg.WriteTimeout)) }

// drain reads some of a body that was not read and is still being sent: closing a
// connection with unread bytes would take the answer away from the sender.
func (r *request) drain() {
	in := r.RequestBodyStream()
	if in == nil {
		return
	}
	_ = r.SetReadDeadline(time.Now().Add(2 * time.Second)) // what fails here fails when answering too
	if _, err := io.CopyN(io.Discard, in, 4*maxBody); !errors.Is(err, io.EOF) {
		r.SetConnectionClose()
	}
}
