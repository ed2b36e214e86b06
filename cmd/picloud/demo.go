package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
)

// demoApp is the app that the live page shows.
const demoApp = "demo"

// source reads something of this machine.
type source struct {
	topic string
	text  string
	read  func() map[string]any
}

var sources = []source{
	{"machine/load", "Load of this machine, from /proc/loadavg", readLoad},
	{"machine/memory", "Memory of this machine, from /proc/meminfo", readMemory},
	{"machine/temperature", "Temperature of this machine, where its kernel knows it", readTemperature},
}

func (c *cli) demoCommand() *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use: "demo", Short: "Publish this machine's load, memory and temperature", Args: exactly(0),
		Long: "Makes the app 'demo' with three public topics, where missing, and publishes real input of this\nmachine until interrupted. Every event carries a number that rises by one, over restarts of the demo\nand of the node, so that anybody can see that nothing is lost or doubled.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.app = demoApp
			return unlessInterrupted(cmd.Context(), c.demo(cmd.Context(), every))
		},
	}
	cmd.Flags().DurationVar(&every, "every", time.Second, "time between two events of a topic")
	return cmd
}

func (c *cli) demo(ctx context.Context, every time.Duration) error {
	if err := c.untilAnswered(ctx, func() error { return c.demoSetup(ctx) }); err != nil {
		return err
	}
	queues := make([]*patient, len(sources))
	next := make([]uint64, len(sources))
	for i, s := range sources {
		queues[i] = c.newPatient(c.appPath("topics", s.topic, "events"))
		var n uint64
		err := c.untilAnswered(ctx, func() (err error) {
			n, err = c.lastNumber(ctx, s.topic)
			return err
		})
		if err != nil {
			return err
		}
		next[i] = n + 1
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		for i, s := range sources {
			data := s.read()
			data["n"] = next[i]
			body, err := json.Marshal(data)
			if err != nil {
				return err
			}
			if err := queues[i].publish(ctx, body); err != nil {
				return err
			}
			next[i]++
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// demoSetup makes the app and its topics where they are missing.
func (c *cli) demoSetup(ctx context.Context) error {
	make1 := func(path string, body any) error {
		err := c.call(ctx, http.MethodPost, path, body, nil)
		var refused *refusedError
		if errors.As(err, &refused) && refused.Status == http.StatusConflict {
			return nil
		}
		return err
	}
	if err := make1("/v1/apps", api.NewApp{Name: demoApp, Description: "What this machine feels like, live"}); err != nil {
		return err
	}
	for _, s := range sources {
		if err := make1(c.appPath("topics"), api.NewTopic{Name: s.topic, Description: s.text, External: true, AuthMode: "public"}); err != nil {
			return err
		}
	}
	return nil
}

// lastNumber returns the number of the newest event of a topic, 0 without one.
func (c *cli) lastNumber(ctx context.Context, topic string) (uint64, error) {
	var page api.History
	q := url.Values{"topic": {topic}, "since": {"latest"}}
	if err := c.call(ctx, http.MethodGet, c.appPath("events")+"?"+q.Encode(), nil, &page); err != nil {
		return 0, err
	}
	var data struct {
		N uint64 `json:"n"`
	}
	for _, e := range page.Events {
		if err := json.Unmarshal(e.Data, &data); err != nil {
			return 0, fmt.Errorf("read the newest event of %s: %w", topic, err)
		}
	}
	return data.N, nil
}

func readLoad() map[string]any {
	b, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(b))
	if err != nil || len(fields) < 3 {
		return map[string]any{"load1": nil, "load5": nil, "load15": nil, "note": "unknown: /proc/loadavg cannot be read"}
	}
	data := map[string]any{}
	for i, name := range []string{"load1", "load5", "load15"} {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err == nil {
			data[name] = v
		}
	}
	return data
}

func readMemory() map[string]any {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return map[string]any{"total_bytes": nil, "used_bytes": nil, "note": "unknown: /proc/meminfo cannot be read"}
	}
	kib := map[string]int64{}
	for in := bufio.NewScanner(bytes.NewReader(b)); in.Scan(); {
		name, rest, _ := strings.Cut(in.Text(), ":")
		if f := strings.Fields(rest); len(f) > 0 {
			kib[name], _ = strconv.ParseInt(f[0], 10, 64) // 0 where it is not a number
		}
	}
	return map[string]any{"total_bytes": kib["MemTotal"] << 10, "used_bytes": (kib["MemTotal"] - kib["MemAvailable"]) << 10}
}

// readTemperature takes the hottest of the kernel's thermal zones.
func readTemperature() map[string]any {
	hottest, known := 0.0, false
	for _, pattern := range []string{"/sys/class/thermal/thermal_zone*/temp", "/sys/class/hwmon/hwmon*/temp*_input"} {
		files, _ := filepath.Glob(pattern) // the pattern is sound
		for _, f := range files {
			b, err := os.ReadFile(f) // #nosec G304 -- from the kernel's list
			if err != nil {
				continue
			}
			if milli, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64); err == nil && (!known || milli/1000 > hottest) {
				hottest, known = milli/1000, true
			}
		}
		if known {
			break // other chips are asked only where there is no zone
		}
	}
	if !known {
		return map[string]any{"celsius": nil, "note": "unknown: this machine's kernel has no thermal zone"}
	}
	return map[string]any{"celsius": hottest}
}
