package httpapi

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func letterBody(l *picloud.DeadLetter) api.DeadLetter {
	b := api.DeadLetter{
		ID: l.ID, Trigger: l.Trigger, Delivery: l.Delivery, What: l.What, Attempts: l.Attempts, Reason: l.Reason, Errors: append([]string{}, l.Errors...), CreatedAt: api.At(l.CreatedAt), GivenUp: l.GivenUp,
		Notes: make([]api.LetterNote, len(l.Notes)),
	}
	for i, n := range l.Notes {
		b.Notes[i] = api.LetterNote{At: api.At(n.At), Trigger: n.Trigger, Text: n.Text}
	}
	return b
}

func (s *Server) listLetters(r *request) error {
	limit, err := r.limit(100)
	if err != nil {
		return err
	}
	page, next, err := s.cfg.Store.DeadLetters(r.param("app"), picloud.LetterFilter{Trigger: r.query("trigger"), After: r.query("after"), Limit: limit})
	if err != nil {
		return err
	}
	list := api.DeadLetters{DeadLetters: make([]api.DeadLetter, len(page)), Next: r.next(next)}
	for i := range page {
		list.DeadLetters[i] = letterBody(&page[i])
	}
	return r.reply(fasthttp.StatusOK, list)
}

func (s *Server) showLetter(r *request) error {
	l, err := s.cfg.Store.DeadLetter(r.param("app"), r.param("letter"))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, letterBody(&l))
}

func (s *Server) redriveLetters(r *request) error { return r.eachLetter(s.cfg.Store.Redrive) }

func (s *Server) purgeLetters(r *request) error {
	return r.eachLetter(func(ctx context.Context, app string, f picloud.LetterFilter) (int, int, error) {
		n, err := s.cfg.Store.Purge(ctx, app, f)
		return n, 0, err
	})
}

// eachLetter does something about the letters that the body selects. One that
// selects all has to say so: an empty body is more often a slip.
func (r *request) eachLetter(do func(context.Context, string, picloud.LetterFilter) (done, left int, err error)) error {
	var b api.LetterSelection
	if err := r.decode(&b, false); err != nil {
		return err
	}
	f := picloud.LetterFilter{IDs: b.IDs, Trigger: b.Trigger}
	if b.Before != "" {
		var err error
		if f.Before, err = time.Parse(time.RFC3339Nano, b.Before); err != nil {
			return errBody.Detailf("before: send a time such as 2026-11-01T12:00:00Z (RFC 3339)")
		}
	}
	if some := len(f.IDs) > 0 || f.Trigger != "" || !f.Before.IsZero(); some == b.All {
		return errBody.Detailf("say which dead letters: ids, trigger or before; or all, and nothing else")
	}
	n, left, err := do(r.patience(), r.param("app"), f)
	if err != nil {
		return err
	}
	if len(f.IDs) > 0 && n == 0 {
		return picloud.ErrDeadLetterNotFound
	}
	return r.reply(fasthttp.StatusOK, api.Counted{Count: n, Left: left})
}
