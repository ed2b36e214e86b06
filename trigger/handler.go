// Package trigger turns deliveries into runs of scripts: it builds the arguments of the
// script that a trigger names, runs it, and keeps the answer where the delivery is an
// HTTP request that is answered later.
//
// Package dispatch calls it and decides when, how often and what follows from an error;
// package script does the running. It is to deliveries what package httpapi is to
// requests, and keeps no state.
package trigger

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/script"
	"github.com/picloud/picloud/sdk"
)

// Handler runs the scripts of triggers. Its methods may be called from any number of
// goroutines.
type Handler struct {
	scripts Scripts
	results Results
}

// Scripts runs scripts; *script.Runner implements it.
type Scripts interface {
	Do(ctx context.Context, job script.Job) (script.Result, error)
}

// Results keeps the answers to requests that are answered later; *store.Store
// implements it.
type Results interface {
	ReserveResult(app, id string) (release func(), err error)
	SetResult(ctx context.Context, app, id string, r picloud.Result) error
}

// New returns a Handler.
func New(scripts Scripts, results Results) *Handler {
	return &Handler{scripts: scripts, results: results}
}

// Handle runs the script of a trigger for a delivery. An error means that the attempt
// failed, or, if it is Unavailable, that there was none.
func (h *Handler) Handle(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error {
	if d.What.Kind == picloud.TriggerHTTP {
		return h.request(ctx, t, d)
	}
	input, about := sdk.Input(&d), sdk.Context(&t, &d)
	in, err := picloud.EncodeJSON(input)
	if err != nil {
		return err
	}
	also, err := picloud.EncodeJSON(about)
	if err != nil {
		return err
	}
	_, err = h.scripts.Do(ctx, script.Job{
		App: t.App, Script: t.Script, Export: t.Export, Input: in, Context: also,
		Cause: "trigger:" + t.Name, Delivery: d.ID, Attempt: d.Attempts + 1, Hops: d.What.Hops + 1, Limits: script.Limits{Total: t.Timeout},
	})
	return err
}

// request answers an HTTP request that was accepted before. A request whose script
// refuses anonymous callers is not tried again: another attempt has the same caller.
func (h *Handler) request(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error {
	var r picloud.LaterRequest
	if err := json.Unmarshal(d.What.Data, &r); err != nil {
		return err
	}
	r.About["delivery"], r.About["attempt"] = d.ID, d.Attempts+1
	about, err := picloud.EncodeJSON(r.About)
	if err != nil {
		return err
	}
	release, err := h.results.ReserveResult(t.App, d.What.Name)
	if err != nil {
		return err
	}
	defer release()
	res, err := h.scripts.Do(ctx, script.Job{
		App: t.App, Script: t.Script, Export: t.Export, Input: r.Input, Context: about,
		Cause: "endpoint:" + t.Name, Delivery: d.ID, Attempt: d.Attempts + 1, Hops: d.What.Hops + 1, Limits: script.Limits{Total: t.Timeout},
		Anonymous: r.About["caller"] == nil, Accept: sdk.CheckOutput,
	})
	out := picloud.Result{State: picloud.ResultDone, Output: res.Output, Response: res.Response}
	if fault, ok := errors.AsType[*script.Error](err); ok && fault.Unauthenticated() {
		out, err = picloud.Result{State: picloud.ResultRefused}, nil
	}
	if err != nil {
		return err
	}
	return h.results.SetResult(ctx, t.App, d.What.Name, out)
}
