package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/board"
)

func (c *cli) hwHealthCommand() *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Show the health of the board", Args: exactly(0),
		Long: "Shows temperature, power, processor, memory, disk and clock of the board that the node runs on. What\nis unknown comes with the reason and what to do about it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var r board.Report
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/node/board", nil, &r); err != nil {
				return err
			}
			if c.json {
				return c.print(r)
			}
			for _, line := range healthLines(&r) {
				c.printf("%-12s %s\n", line[0], plain(line[1]))
			}
			return nil
		},
	}
}

const unknown = "unknown"

// healthLines words a report for people, one row per topic.
func healthLines(r *board.Report) (lines [][2]string) {
	add := func(what, format string, args ...any) {
		lines = append(lines, [2]string{what, fmt.Sprintf(format, args...)})
	}
	add("board", "%s", modelText(r))
	add("temperature", "%s", known(r.Celsius, "%.1f °C"))
	add("power", "%s", flagText(r.Undervoltage, r.UndervoltageSeen, "undervoltage", "no undervoltage"))
	add("throttling", "%s", flagText(r.Throttled, r.ThrottledSeen, "throttled", "not throttled"))
	add("processor", "%s busy, load %s, clock %s", percent(r.CPU), known(r.Load, "%.2f"), hertzText(r.CPUHertz))
	add("memory", "%s available of %s", bytesText(r.MemoryAvailable), bytesText(r.MemoryTotal))
	add("disk", "%s free of %s", bytesText(r.DiskFree), bytesText(r.DiskTotal))
	add("wear", "%s", percent(r.Wear))
	if r.Uptime != nil {
		add("up", "%v", (time.Duration(*r.Uptime) * time.Second))
	}
	add("clock", "%s", clockText(r.ClockSynced))
	for _, l := range r.Conditions {
		add("condition", "%s since %s; background work goes slower. %s", l.Condition, l.Since.Local().Format(time.DateTime), l.Advice)
	}
	for _, m := range r.Missing {
		add("unknown", "%s: %s. %s", strings.ReplaceAll(m.What, "_", " "), m.Why, m.Fix)
	}
	return lines
}

// boardLine says in one line how the board is.
func boardLine(r *board.Report) string {
	model := "model unknown"
	if r.Model != nil {
		model = *r.Model
	}
	parts := []string{model, "temperature " + known(r.Celsius, "%.1f °C")}
	for _, l := range r.Conditions {
		parts = append(parts, string(l.Condition)+" since "+l.Since.Local().Format(time.DateTime))
	}
	return strings.Join(parts, ", ")
}

func modelText(r *board.Report) string {
	text := "model unknown"
	if r.Model != nil {
		text = *r.Model
	}
	var more []string
	if r.Processor != nil {
		more = append(more, *r.Processor)
	}
	if r.Revision != nil {
		more = append(more, "revision "+*r.Revision)
	}
	if r.Simulated {
		more = []string{"its memory, disk, load and clock are of this machine"}
	}
	if len(more) > 0 {
		text += " (" + strings.Join(more, ", ") + ")"
	}
	return text
}

func known(v *float64, format string) string {
	if v == nil {
		return unknown
	}
	return fmt.Sprintf(format, *v)
}

func percent(v *float64) string {
	if v == nil {
		return unknown
	}
	return fmt.Sprintf("%.0f %%", *v*100)
}

func hertzText(v *float64) string {
	if v == nil {
		return unknown
	}
	return fmt.Sprintf("%.0f MHz", *v/1e6)
}

func bytesText(v *uint64) string {
	if v == nil {
		return unknown
	}
	return fmt.Sprintf("%.0f MiB", float64(*v)/(1<<20))
}

// flagText words whether something is the case, now and since the board was started.
func flagText(now, seen *bool, yes, no string) string {
	text := no
	switch {
	case now == nil:
		text = unknown
	case *now:
		return yes + " now"
	}
	if seen != nil && *seen {
		text += " now, but " + yes + " since the board was started"
	}
	return text
}

func clockText(synced *bool) string {
	switch {
	case synced == nil:
		return unknown
	case *synced:
		return "synchronised"
	}
	return "not synchronised"
}
