package httpapi

import (
	"bytes"
	"context"
	"mime"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

// prefersLater reports whether a request asks to be answered later.
func prefersLater(r *request) bool {
	for part := range strings.SplitSeq(string(bytes.Join(r.Request.Header.PeekAll("Prefer"), []byte(","))), ",") {
		if kind, _, _ := mime.ParseMediaType(strings.TrimSpace(part)); kind == "respond-async" {
			return true
		}
	}
	return false
}

// maxLaterOfAnybody bounds what an anonymous caller can have kept
// by one request, headers included.
const maxLaterOfAnybody = 64 << 10

// acceptLater keeps a request until its script has answered it.
func (s *Server) acceptLater(r *request, e *picloud.Endpoint, later picloud.LaterRequest) error {
	text, err := picloud.EncodeJSON(later)
	if err != nil {
		return err
	}
	if r.principal.Kind == picloud.KindAnonymous && len(text) > maxLaterOfAnybody {
		return errTooLarge.Detailf("a request that is answered later has at most %d bytes when its caller is anonymous: it is kept on the card", maxLaterOfAnybody)
	}
	id, err := s.cfg.Store.Accept(r.patience(), *e, text)
	if err != nil {
		return err
	}
	r.Response.Header.Set("Preference-Applied", "respond-async")
	return r.replyLater(e.App, id)
}

func (r *request) replyLater(app, id string) error {
	where := "/v1/apps/" + url.PathEscape(app) + "/results/" + id
	r.Response.Header.Set("Location", where)
	r.Response.Header.Set("Retry-After", "1")
	return r.reply(fasthttp.StatusAccepted, api.Later{ID: id, State: picloud.ResultWaiting, Result: where})
}

// wait returns how long a request is ready to wait for something to happen.
func (r *request) wait() (time.Duration, error) {
	text := r.query("wait_sec")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > int(maxWait/time.Second) {
		return 0, errQuery.Detailf("wait_sec: use 0 to %d", int(maxWait/time.Second))
	}
	return time.Duration(n) * time.Second, nil
}

// showResult answers what the script of an endpoint has answered. Knowing the
// id is the right to it.
func (s *Server) showResult(r *request) error {
	wait, err := r.wait()
	if err != nil {
		return err
	}
	app, id := r.param("app"), r.param("result")
	set, stop := s.cfg.Store.ResultSet(app, id)
	defer stop()
	res, err := s.cfg.Store.Result(app, id)
	if err == nil && res.State == picloud.ResultWaiting && wait > 0 {
		ctx, cancel := context.WithTimeout(r.patience(), wait)
		select {
		case <-set:
		case <-ctx.Done():
		case <-s.stopping:
		}
		cancel()
		res, err = s.cfg.Store.Result(app, id)
	}
	if err != nil {
		return err
	}
	s.cors(r)
	switch res.State {
	case picloud.ResultDone:
		r.sandboxed = true
		return r.replyOutput(res.Output, res.Response)
	case picloud.ResultRefused:
		return picloud.ErrUnauthenticated
	case picloud.ResultFailed:
		return errScript
	}
	return r.replyLater(app, id)
}
