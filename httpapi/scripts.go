package httpapi

import (
	"errors"
	"mime"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/script"
)

// scriptType is the content type of scripts (RFC 9239).
const scriptType = "text/javascript"

func scriptBody(sc *picloud.Script) api.Script {
	return api.Script{Name: sc.Name, Version: sc.Version, Size: len(sc.Source), UpdatedAt: api.At(sc.UpdatedAt)}
}

func scriptList(list []picloud.Script) api.Scripts {
	out := api.Scripts{Scripts: make([]api.Script, len(list))}
	for i := range list {
		out.Scripts[i] = scriptBody(&list[i])
	}
	return out
}

func (s *Server) listScripts(r *request) error {
	list, err := s.cfg.Store.Scripts(r.param("app"))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, scriptList(list))
}

func (s *Server) listScriptVersions(r *request) error {
	list, err := s.cfg.Store.ScriptVersions(r.param("app"), r.param("script"))
	if err != nil {
		return err
	}
	return r.reply(fasthttp.StatusOK, scriptList(list))
}

func (s *Server) showScript(r *request) error {
	sc, err := s.cfg.Store.Script(r.param("app"), r.param("script"))
	return r.replySource(&sc, err)
}

func (s *Server) showScriptVersion(r *request) error {
	version, err := strconv.ParseUint(r.param("version"), 10, 64)
	if err != nil {
		return picloud.ErrScriptNotFound
	}
	sc, err := s.cfg.Store.ScriptVersion(r.param("app"), r.param("script"), version)
	return r.replySource(&sc, err)
}

func (r *request) replySource(sc *picloud.Script, err error) error {
	if err != nil || r.fresh(sc.Version) {
		return err
	}
	r.SetContentType(scriptType + "; charset=utf-8")
	r.Response.SetBodyRaw([]byte(sc.Source))
	return nil
}

// saveScript reads the script before it keeps it, so that a slip of the pen is
// told at once.
func (s *Server) saveScript(r *request) error {
	kind, _, err := mime.ParseMediaType(string(r.Request.Header.ContentType()))
	if err != nil || (kind != scriptType && kind != "application/javascript") {
		return errType.Detailf("send the source as %s", scriptType)
	}
	cond, err := r.precondition()
	if err != nil {
		return err
	}
	sc := picloud.Script{App: r.param("app"), Name: r.param("script"), Source: string(r.PostBody())}
	if err := check.Script(sc.Name, sc.Source); err != nil {
		return err
	}
	if err := s.cfg.Scripts.Check(r.patience(), sc.App, sc.Name, sc.Source); err != nil {
		return scriptFault(err)
	}
	if sc, err = s.cfg.Store.SaveScript(r.patience(), sc, cond); err != nil {
		return err
	}
	return r.replyChanged(sc.Version, scriptBody(&sc))
}

// scriptFault is the public form of what a runner says about a script.
func scriptFault(err error) error {
	fault, ok := errors.AsType[*script.Error](err)
	switch {
	case !ok:
		return err
	case fault.Reason == script.ReasonNoWorker:
		return picloud.ErrScriptWorker
	case fault.Unavailable():
		return picloud.ErrScriptsBusy.Detailf("%s. Repeat the request after the time in Retry-After.", fault.Message)
	case fault.Reason == script.ReasonSyntax:
		return picloud.ErrScriptInvalid.Detailf("%s", fault.Error())
	}
	return picloud.ErrScriptFailed.Detailf("%s", fault.Error())
}

func (s *Server) deleteScript(r *request) error {
	cond, err := r.precondition()
	if err != nil {
		return err
	}
	if err := s.cfg.Store.DeleteScript(r.patience(), r.param("app"), r.param("script"), cond); err != nil {
		return err
	}
	return r.done()
}

// runScript answers how the run went, whether well or not.
func (s *Server) runScript(r *request) error {
	var b api.NewRun
	if err := r.decode(&b, true); err != nil {
		return err
	}
	app, name := r.param("app"), r.param("script")
	if _, err := s.cfg.Store.Script(app, name); err != nil {
		return err
	}
	job := script.Job{App: app, Script: name, Export: b.Export, Input: b.Input, Cause: r.principal.Source(), Sender: r.waits, Begin: r.reserveOutput}
	res, err := s.cfg.Scripts.Do(r.patience(), job)
	fault, _ := errors.AsType[*script.Error](err)
	if fault != nil && fault.Unavailable() {
		return scriptFault(err)
	}
	out := api.RunResult{Output: res.Output, Run: api.Run{
		ID: res.RunID, Script: name, Version: res.Version, Cause: job.Cause, StartedAt: api.At(res.Started), DurationMS: millis(res.Duration),
		Outcome: picloud.RunOK, Lines: lineBodies(res.Lines), Truncated: res.Truncated,
	}}
	if fault != nil {
		out.Outcome, out.Error, out.Stack = string(fault.Reason), fault.Error(), fault.Stack
	}
	return r.reply(fasthttp.StatusOK, out)
}

func millis(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
