package httpapi

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func runBody(r *picloud.Run) api.Run {
	return api.Run{
		ID: r.ID, Script: r.Script, Version: r.Version, Cause: r.Cause, Delivery: r.Delivery, Attempt: r.Attempt,
		StartedAt: api.At(r.StartedAt), DurationMS: millis(r.Duration), Outcome: r.Outcome, Error: r.Error, Stack: r.Stack,
		Lines: lineBodies(r.Lines), Truncated: r.Truncated,
	}
}

func lineBodies(lines []picloud.RunLine) []api.RunLine {
	out := make([]api.RunLine, len(lines))
	for i, l := range lines {
		out[i] = api.RunLine{At: api.At(l.At), Level: l.Level, Text: l.Text}
	}
	return out
}

// maxWait is how long a request may wait for something to happen.
const maxWait = 30 * time.Second

// listRuns answers with the newest runs, or waits until there is one.
func (s *Server) listRuns(r *request) error {
	limit, err := r.limit(20)
	if err != nil {
		return err
	}
	wait, err := r.wait()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.patience(), wait)
	defer cancel()
	for {
		news := s.cfg.Store.RunRecorded()
		list, err := s.cfg.Store.Runs(r.param("app"), r.query("script"), r.query("after"), limit)
		if err != nil {
			return err
		}
		if len(list) > 0 || wait == 0 {
			return r.replyRuns(list)
		}
		select {
		case <-news:
		case <-ctx.Done():
			return r.replyRuns(nil)
		case <-s.stopping:
			return r.replyRuns(nil)
		}
	}
}

func (r *request) replyRuns(list []picloud.Run) error {
	out := api.Runs{Runs: make([]api.Run, len(list))}
	for i := range list {
		out.Runs[i] = runBody(&list[i])
	}
	return r.reply(fasthttp.StatusOK, out)
}

func (s *Server) showRun(r *request) error {
	run, err := s.cfg.Store.FindRun(r.param("app"), r.param("run"))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, runBody(&run))
}
