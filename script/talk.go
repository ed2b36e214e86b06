package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
)

// grace is what a worker gets beyond its time before it is killed: the engine
// ends nearly every script by itself, and says how.
const grace = 250 * time.Millisecond

// talk is the daemon's side of one run.
type talk struct {
	r    *Runner
	p    *process
	job  Job
	res  Result
	kept int // bytes of the lines

	left    time.Duration // of the script's own time, grace included
	began   time.Duration // the worker's own time when it got the floor
	overrun atomic.Bool   // it was killed for its time
}

// run talks to the worker until the job has ended. The worker can be used again
// when it is healthy.
func (t *talk) run(ctx context.Context, main picloud.Script) (healthy bool, fault *Error) {
	about, err := describe(t.job, main.Version)
	if err != nil {
		return true, failf(ReasonThrown, "%v", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.job.Limits.Total, errTotal)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = t.p.cmd.Process.Kill() }) // it may be gone
	defer stop()
	calls := newCalls(t.r.cfg.Host, &t.job, t.r.log, t.r.replies, t.r.cfg.Budget.Lease(budget.Replies, budget.Party{App: t.job.App}))
	defer calls.wait()
	defer cancel() // what the run has left under way ends with it
	t.left = t.job.Limits.Time + grace
	t.began = t.p.ownTime()
	err = t.p.sendWith(frameJob, jobBody{
		App: t.job.App, Script: t.job.Script, Export: t.job.Export, Ctx: about, Check: t.job.check != nil, Source: main.Source, Limits: t.job.Limits,
	}, "input", orNull(t.job.Input))
	if errors.Is(err, errFrame) { // nothing was sent
		return true, failf(ReasonInput, "what the handler is given, and the script, do not fit into %d MiB: let it get less, such as a key or a path under which it finds the rest", maxFrame>>20)
	}
	for err == nil {
		var kind frameKind
		var body []byte
		if kind, body, err = t.next(); err != nil {
			break
		}
		switch kind {
		case frameNeed:
			err = t.module(body)
		case frameCalls:
			err = t.serve(ctx, calls, body)
		case frameDone:
			if !stop() { // the knife has fallen, or is about to
				return false, t.verdict(ctx, err)
			}
			return t.done(body)
		default:
			err = fmt.Errorf("%w: kind %d", errFrame, kind)
		}
	}
	_ = t.p.cmd.Process.Kill()
	<-t.p.ended
	return false, t.verdict(ctx, err)
}

var errTotal = errors.New("the run took too long")

// verdict says why a run was cut off.
func (t *talk) verdict(ctx context.Context, err error) *Error {
	switch {
	case t.overrun.Load():
		return failf(ReasonTime, "it ran for longer than %v and could not be interrupted: look for a search in something very long", t.job.Limits.Time)
	case errors.Is(context.Cause(ctx), errTotal):
		return failf(ReasonTime, "with all its waiting it took longer than %v", t.job.Limits.Total)
	case errors.Is(context.Cause(ctx), errStopping):
		return errStopping
	case ctx.Err() != nil:
		return failf(ReasonUnavailable, "the run was cut off: %v", context.Cause(ctx))
	}
	t.r.log.Warn("a worker died while it ran a script", slog.String("app", t.job.App), slog.String("script", t.job.Script),
		slog.String("said", t.p.stderr.words(err)))
	return failf(ReasonCrash, "the script's worker died: %s", t.p.stderr.words(err))
}

// floor sends a frame after which the worker has the floor.
func (t *talk) floor(kind frameKind, body any) error {
	t.began = t.p.ownTime()
	return t.p.send(kind, body)
}

// next returns the frame with which the worker gives the floor back, in the time
// that it has left. Lines that come before are kept.
func (t *talk) next() (frameKind, []byte, error) {
	defer whenOver(t.began+t.left, t.p.ownTime, func() {
		t.overrun.Store(true)
		_ = t.p.cmd.Process.Kill()
	})()
	for {
		kind, body, err := t.p.receive()
		if err != nil || kind != frameLine {
			t.left -= t.p.ownTime() - t.began
			return kind, body, err
		}
		if err := t.line(body); err != nil {
			return 0, nil, err
		}
	}
}

// line keeps a line of the console.
func (t *talk) line(body []byte) error {
	b, err := parse[lineBody](body)
	if err != nil {
		return err
	}
	switch b.Level {
	case "debug", "info", "warn", "error":
	default:
		return fmt.Errorf("%w: a line of no known level", errFrame)
	}
	t.res.Truncated = t.res.Truncated || b.Cut
	if t.kept += len(b.Text) + 32; t.kept > t.job.Limits.Lines {
		t.res.Truncated = true
		return nil
	}
	l := picloud.RunLine{At: time.Now().UTC(), Level: b.Level, Text: b.Text}
	t.res.Lines = append(t.res.Lines, l)
	if t.job.Line != nil {
		t.job.Line(l)
	}
	return nil
}

// module answers with a script of the same app.
func (t *talk) module(body []byte) error {
	name, err := parse[string](body)
	if err != nil {
		return err
	}
	var m moduleBody
	found, err := t.r.cfg.Host.Module(t.job.App, name)
	if err != nil {
		m.Error = t.r.public(err)
	} else {
		m.Source = found.Source
	}
	return t.floor(frameModule, m)
}

// serve begins calls, waits for at least one answer, and hands over what is
// there.
func (t *talk) serve(ctx context.Context, c *calls, body []byte) error {
	list, err := parse[[]callBody](body)
	if err != nil {
		return err
	}
	if t.res.Calls += len(list); t.res.Calls > t.job.Limits.Calls {
		return fmt.Errorf("%w: more calls than the run may make", errFrame)
	}
	for _, b := range list {
		if err := c.begin(ctx, b); err != nil {
			return err
		}
	}
	if c.open == 0 {
		return fmt.Errorf("%w: it waits for nothing", errFrame)
	}
	answers, err := c.some(ctx)
	if err != nil {
		return err
	}
	replies := make([]replyBody, len(answers))
	for i := range answers {
		replies[i] = answers[i].reply
	}
	err = t.floor(frameReplies, replies)
	for i := range answers { // the worker has them
		c.replies.give(answers[i].held)
	}
	return err
}

// done takes the end of the job in.
func (t *talk) done(body []byte) (healthy bool, fault *Error) {
	b, err := parse[doneBody](body)
	if err != nil || len(b.Output) > t.job.Limits.Output {
		return false, failf(ReasonCrash, "the script's worker spoke nonsense: %v", err)
	}
	if b.Error != nil {
		return b.Error.Reason == ReasonThrown, b.Error // an engine that was at its limits is not used again
	}
	if t.job.Accept != nil {
		if err := t.job.Accept(b.Output, b.Response); err != nil {
			return true, failf(ReasonOutput, "%v", err)
		}
	}
	t.res.Output, t.res.Response = b.Output, b.Response
	return true, nil
}

func (r *Runner) public(err error) *callError { return public(r.log, err) }

// public words an error for scripts. What is not meant for others is logged.
func public(log *slog.Logger, err error) *callError {
	if e := picloud.AsError(err); e != nil {
		return &callError{Code: string(e.Code), Type: e.Type, Title: e.Title, Detail: e.Detail}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errTotal) {
		return &callError{Code: string(picloud.CodeUnavailable), Type: "cut-off", Title: "The call was cut off"}
	}
	log.Error("a call of a script failed", slog.Any("err", err))
	return &callError{Code: string(picloud.CodeInternal), Type: "internal", Title: "The node failed; its log has the cause"}
}

func orNull(v json.RawMessage) json.RawMessage {
	if len(v) == 0 {
		return json.RawMessage("null")
	}
	return v
}
