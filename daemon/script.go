package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
	"github.com/picloud/picloud/budget"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/hw"
	"github.com/picloud/picloud/hw/sensor"
	"github.com/picloud/picloud/script"
	"github.com/picloud/picloud/sdk"
	"github.com/picloud/picloud/store"
)

// newScripts makes what runs scripts: workers on one side, the node as scripts see
// it on the other.
func newScripts(cfg Config, st *store.Store, publisher picloud.Publisher, authority *auth.Authority, board *hw.Board, sensors *sensor.Poller, memory *budget.Budget, log *slog.Logger) *script.Runner {
	mint := func(ctx context.Context, by picloud.Principal, app string, topics []string, ttl time.Duration) (string, time.Time, error) {
		t, err := authority.Mint(ctx, by, app, topics, ttl)
		return t.Text, t.ExpiresAt, err
	}
	return script.New(script.Config{
		Host:    sdk.New(sdk.Config{Store: st, Publisher: publisher, Mint: mint, Board: board, Sensors: sensors, HTTPHosts: cfg.HTTPHosts}),
		Record:  func(r picloud.Run) string { return st.RecordRun(r).ID },
		Workers: cfg.ScriptWorkers, NoSandbox: !cfg.ScriptSandbox, Budget: memory, Logger: log,
	})
}

// measure exports how scripts and triggers are doing.
func (m *machine) measure(set *metrics.Set) {
	for name, value := range map[string]func(dispatch.Totals) float64{
		"picloud_triggers":                  func(t dispatch.Totals) float64 { return float64(t.Triggers) },
		"picloud_triggers_paused":           func(t dispatch.Totals) float64 { return float64(t.Paused) },
		"picloud_deliveries_running":        func(t dispatch.Totals) float64 { return float64(t.Running) },
		"picloud_deliveries_waiting":        func(t dispatch.Totals) float64 { return float64(t.Waiting) },
		"picloud_deliveries_held":           func(t dispatch.Totals) float64 { return float64(t.Held) },
		"picloud_deliveries_done_total":     func(t dispatch.Totals) float64 { return float64(t.Done) },
		"picloud_delivery_failures_total":   func(t dispatch.Totals) float64 { return float64(t.Failed) },
		"picloud_deliveries_given_up_total": func(t dispatch.Totals) float64 { return float64(t.Buried) },
	} {
		set.GetOrCreateGauge(name, func() float64 { return value(m.owed.Totals()) })
	}
	set.GetOrCreateGauge("picloud_dead_letters", func() float64 { return float64(m.store.CountDeadLetters()) })
	set.RegisterMetricsWriter(func(w io.Writer) {
		for _, u := range m.store.Usages() {
			writeUsage(w, u)
		}
	})
	set.RegisterMetricsWriter(func(w io.Writer) { writeSensors(w, m.sensors.Sensors()) })
	set.GetOrCreateGauge("picloud_script_workers_idle", func() float64 { idle, _ := m.scripts.Workers(); return float64(idle) })
	set.GetOrCreateGauge("picloud_script_runs_running", func() float64 { _, running := m.scripts.Workers(); return float64(running) })
}

// writeUsage exports what an app keeps, and what it may; a limit of 0 is none.
func writeUsage(w io.Writer, u picloud.Usage) {
	for _, a := range []struct {
		kind string
		picloud.Amount
	}{
		{"data", u.Data},
		{"results", u.Results},
		{"anonymous_results", u.Anonymous},
		{"idempotency_keys", u.IdempotencyKeys},
		{"topic_names", u.TopicNames},
		{"scripts", u.Scripts},
		{"runs", u.Runs},
		{"dead_letters", u.DeadLetters},
	} {
		for name, value := range map[string]int64{
			"picloud_app_items": a.Items, "picloud_app_items_limit": a.MaxItems, "picloud_app_bytes": a.Bytes, "picloud_app_bytes_limit": a.MaxBytes,
		} {
			metrics.WriteGaugeUint64(w, fmt.Sprintf("%s{app=%q,kind=%q}", name, u.App, a.kind), uint64(max(0, value))) // #nosec G115 -- not negative
		}
	}
	metrics.WriteGaugeUint64(w, fmt.Sprintf("picloud_app_dead_letters_dropped{app=%q}", u.App), uint64(max(0, u.LettersDropped))) // #nosec G115 -- as above
}
