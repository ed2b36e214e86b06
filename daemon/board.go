package daemon

import (
	"fmt"
	"io"
	"runtime"

	"github.com/VictoriaMetrics/metrics"

	"github.com/picloud/picloud/board"
)

// strained reports whether the board is hot or lacks power, so that work which can wait has
// to go slower.
func (m *machine) strained() bool {
	return m.monitor != nil && m.monitor.Strained() // the store is opened before
}

// busy reports whether it is, or has more to do than it can.
func (m *machine) busy() bool {
	if m.strained() {
		return true
	}
	h := m.board.Health()
	return h.Load != nil && *h.Load >= float64(runtime.NumCPU())
}

// measureBoard exports the health of the board. What is unknown is not exported.
func (m *machine) measureBoard(set *metrics.Set) {
	set.RegisterMetricsWriter(func(w io.Writer) { writeBoard(w, m.monitor.Report()) })
}

func writeBoard(w io.Writer, r board.Report) {
	gauge := func(name string, value *float64) {
		if value != nil {
			metrics.WriteGaugeFloat64(w, "picloud_board_"+name, *value)
		}
	}
	flag := func(name string, value *bool) {
		if value != nil {
			gauge(name, new(oneIf(*value)))
		}
	}
	bytes := func(name string, value *uint64) {
		if value != nil {
			metrics.WriteGaugeUint64(w, "picloud_board_"+name+"_bytes", *value)
		}
	}
	gauge("celsius", r.Celsius)
	gauge("uptime_seconds", r.Uptime)
	gauge("cpu_ratio", r.CPU)
	gauge("cpu_hertz", r.CPUHertz)
	gauge("load", r.Load)
	gauge("wear_ratio", r.Wear)
	bytes("memory_total", r.MemoryTotal)
	bytes("memory_available", r.MemoryAvailable)
	bytes("disk_total", r.DiskTotal)
	bytes("disk_free", r.DiskFree)
	flag("undervoltage", r.Undervoltage)
	flag("undervoltage_seen", r.UndervoltageSeen)
	flag("throttled", r.Throttled)
	flag("throttled_seen", r.ThrottledSeen)
	flag("clock_synced", r.ClockSynced)
	flag("simulated", &r.Simulated)
	for _, c := range board.Conditions {
		lasts := false
		for _, l := range r.Conditions {
			lasts = lasts || l.Condition == c
		}
		metrics.WriteGaugeFloat64(w, fmt.Sprintf("picloud_board_condition{condition=%q}", c), oneIf(lasts))
	}
	metrics.WriteGaugeFloat64(w, "picloud_background_slowed", oneIf(r.Slowed))
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
