package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/httpapi"
	"github.com/picloud/picloud/hw"
	"github.com/picloud/picloud/script"
	"github.com/picloud/picloud/sdk"
	"github.com/picloud/picloud/store"
)

// newScripts makes what runs scripts: workers on one side, the node as scripts see
// it on the other.
func newScripts(cfg Config, st *store.Store, publisher picloud.Publisher, authority *auth.Authority, board *hw.Board, log *slog.Logger) *script.Runner {
	mint := func(ctx context.Context, by picloud.Principal, app string, topics []string, ttl time.Duration) (string, time.Time, error) {
		t, err := authority.Mint(ctx, by, app, topics, ttl)
		return t.Text, t.ExpiresAt, err
	}
	return script.New(script.Config{
		Host:    sdk.New(sdk.Config{Store: st, Publisher: publisher, Mint: mint, Board: board, HTTPHosts: cfg.HTTPHosts}),
		Record:  func(r picloud.Run) string { return st.RecordRun(r).ID },
		Workers: cfg.ScriptWorkers, NoSandbox: !cfg.ScriptSandbox, Logger: log,
	})
}

// measure exports how scripts and triggers are doing.
func (m *machine) measure(set *metrics.Set) {
	for name, value := range map[string]func(dispatch.Totals) float64{
		"picloud_triggers":                  func(t dispatch.Totals) float64 { return float64(t.Triggers) },
		"picloud_triggers_paused":           func(t dispatch.Totals) float64 { return float64(t.Paused) },
		"picloud_deliveries_running":        func(t dispatch.Totals) float64 { return float64(t.Running) },
		"picloud_deliveries_waiting":        func(t dispatch.Totals) float64 { return float64(t.Waiting) },
		"picloud_deliveries_done_total":     func(t dispatch.Totals) float64 { return float64(t.Done) },
		"picloud_delivery_failures_total":   func(t dispatch.Totals) float64 { return float64(t.Failed) },
		"picloud_deliveries_given_up_total": func(t dispatch.Totals) float64 { return float64(t.Buried) },
	} {
		set.GetOrCreateGauge(name, func() float64 { return value(m.owed.Totals()) })
	}
	set.GetOrCreateGauge("picloud_dead_letters", func() float64 { return float64(m.store.CountDeadLetters()) })
	set.GetOrCreateGauge("picloud_script_workers_idle", func() float64 { idle, _ := m.scripts.Workers(); return float64(idle) })
	set.GetOrCreateGauge("picloud_script_runs_running", func() float64 { _, running := m.scripts.Workers(); return float64(running) })
}

// handler runs the scripts of triggers.
type handler struct {
	scripts *script.Runner
	results *store.Store
}

// Handle runs the script that a trigger names for a delivery.
func (h handler) Handle(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error {
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

// request answers a request that was accepted before.
func (h handler) request(ctx context.Context, t picloud.Trigger, d picloud.Delivery) error {
	var r picloud.LaterRequest
	if err := json.Unmarshal(d.What.Data, &r); err != nil {
		return err
	}
	r.About["delivery"], r.About["attempt"] = d.ID, d.Attempts+1
	about, err := picloud.EncodeJSON(r.About)
	if err != nil {
		return err
	}
	res, err := h.scripts.Do(ctx, script.Job{
		App: t.App, Script: t.Script, Export: t.Export, Input: r.Input, Context: about,
		Cause: "endpoint:" + t.Name, Delivery: d.ID, Attempt: d.Attempts + 1, Hops: d.What.Hops + 1, Limits: script.Limits{Total: t.Timeout},
		Anonymous: r.About["caller"] == nil, Accept: httpapi.CheckOutput,
	})
	out := picloud.Result{State: picloud.ResultDone, Output: res.Output, Response: res.Response}
	if fault, ok := errors.AsType[*script.Error](err); ok && fault.Unauthenticated() { // trying again makes nobody known
		out, err = picloud.Result{State: picloud.ResultRefused}, nil
	}
	if err != nil {
		return err
	}
	return h.results.SetResult(ctx, t.App, d.What.Name, out)
}
