package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/board"
)

func (c *cli) hwSensorsCommand() *cobra.Command {
	return &cobra.Command{Use: "sensors", Short: "List the sensors with their latest readings", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		var b api.Sensors
		if err := c.call(cmd.Context(), http.MethodGet, "/v1/node/board/sensors", nil, &b); err != nil {
			return err
		}
		if c.json {
			return c.print(b)
		}
		if len(b.Sensors) == 0 {
			c.printf("No sensor is configured: 'picloud hw scan' prints what to write into the configuration of the node for those that it finds (docs/board.md).\n")
			return nil
		}
		var rows [][]string
		for _, s := range b.Sensors {
			reading := sensorReading(&s)
			if s.Fault != nil {
				reading = "since " + when(s.FaultSince) + ": " + *s.Fault
			}
			rows = append(rows, []string{s.Name, s.Driver, s.Place, s.App, s.Topic, when(s.ReadAt), reading})
		}
		c.table("NAME DRIVER PLACE APP TOPIC READ READING", rows)
		return nil
	}}
}

// readings writes values with their units.
func readings(values map[string]float64) string {
	if values == nil {
		return "-"
	}
	var parts []string
	for _, unit := range slices.Sorted(maps.Keys(values)) {
		parts = append(parts, fmt.Sprintf("%v %s", values[unit], unit))
	}
	return strings.Join(parts, ", ")
}

// readSensor shows the latest reading of a sensor of the app.
func (c *cli) readSensor(ctx context.Context, name string) error {
	var s api.Sensor
	err := c.call(ctx, http.MethodGet, c.appPath("sensors", name), nil, &s)
	refused, ok := errors.AsType[*refusedError](err)
	switch {
	case ok && refused.Type == api.ProblemPrefix+board.ErrSensorNotFound.Type:
		refused.Title = "There is no such pin or sensor"
		refused.Detail = fmt.Sprintf("%q: 'picloud hw list' and 'picloud hw sensors' list those that there are", name)
		return refused
	case err != nil:
		return err
	case c.json:
		return c.print(s)
	case s.Failed || s.Values == nil:
		return fmt.Errorf("%w: %s: %s", errNotMeasured, s.Name, plain(sensorFault(&s)))
	}
	c.printf("%s\n", sensorReading(&s))
	return nil
}

// sensorReading is the latest reading of a sensor for people.
func sensorReading(s *api.Sensor) string { return readings(s.Values) + simulatedText(s.Simulated) }

// readingWithFault is the latest reading of a sensor, and why there is none, or an old one.
func readingWithFault(s *api.Sensor) string {
	if s.Values == nil {
		return sensorFault(s)
	}
	return sensorReading(s) + prefixed("; ", sensorFault(s))
}

// sensorFault is why a sensor cannot be read; empty: it can.
func sensorFault(s *api.Sensor) string {
	switch {
	case s.Fault != nil:
		return *s.Fault
	case s.Values == nil:
		return "it has not been read since the node started"
	}
	return ""
}
