package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/board"
	"github.com/picloud/picloud/stats"
)

func (c *cli) hwWatchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "watch", Short: "Show pins, sensors, their events and the board's health live", Args: exactly(0),
		Long: "Shows the pins of the app with their levels and newest events, its sensors with their latest readings, the health\n" +
			"of the board, and how long edges take to the subscribers, until interrupted. On a terminal the picture is drawn anew;\n" +
			"otherwise, every change of a pin, every event and every fault of a sensor is a line. With --json the events and states\n" +
			"come as lines of JSON.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return unlessInterrupted(cmd.Context(), c.hwWatch(cmd.Context()))
		},
	}
}

// Times of watching.
const (
	watchPoll   = time.Second            // between two looks at pins and sensors
	watchSettle = 100 * time.Millisecond // for which changes are collected into one picture
)

// hwWatch follows a stream and asks for pins and sensors beside it: not every change of
// them has an event.
func (c *cli) hwWatch(ctx context.Context) error {
	v := &hwView{c: c, app: c.appName(), newest: map[string]api.Event{}, screen: isTerminal(c.out.w)}
	if err := v.poll(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	states := []string{picloud.TopicNodeStats, picloud.TopicBoardHealth, picloud.TopicBoardPins}
	l := &listener{c: c, cl: c.client(), topics: append(states, v.topics()...), latest: states}
	events := make(chan api.Event)
	if !c.json {
		l.take = func(e api.Event) error {
			select {
			case events <- e:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	go func() { cancel(l.run(ctx)) }()
	tick := time.NewTicker(watchPoll)
	defer tick.Stop()
	for {
		if v.screen && !c.json {
			c.printf("\x1b[H\x1b[J%s", v.picture(terminalSize(c.out.w)))
		}
		select {
		case e := <-events:
			v.take(e)
			v.settle(ctx, events)
		case <-tick.C:
			if err := v.poll(ctx); err != nil && !passing(err) {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hwView is what watching has seen.
type hwView struct {
	c      *cli
	app    string
	screen bool

	pins    []api.Pin
	sensors []api.Sensor
	newest  map[string]api.Event // by topic
	health  *board.Report        // nil: not told
	stats   *stats.Stats         // nil: not told
	stale   bool                 // a pin or a sensor has changed since the last look
}

// poll asks for pins and sensors. Without a screen it tells those that have changed.
func (v *hwView) poll(ctx context.Context) error {
	var pins api.Pins
	if err := v.c.call(ctx, http.MethodGet, v.c.appPath("pins"), nil, &pins); err != nil {
		return err
	}
	var sensors api.Sensors
	if err := v.c.call(ctx, http.MethodGet, v.c.appPath("sensors"), nil, &sensors); err != nil {
		return err
	}
	if !v.screen && !v.c.json {
		v.tellPins(pins.Pins)
		v.tellSensors(sensors.Sensors)
	}
	v.pins, v.sensors, v.stale = pins.Pins, sensors.Sensors, false
	return nil
}

func (v *hwView) tellPins(list []api.Pin) {
	for i := range list {
		p := &list[i]
		k := slices.IndexFunc(v.pins, func(q api.Pin) bool { return q.Name == p.Name })
		if k < 0 || !sameLevel(&v.pins[k], p) {
			v.c.printf("%s  pin %s is %s%s\n", time.Now().Format("15:04:05.000"), plain(p.Name), level(p), prefixed(": ", plain(p.Fault)))
		}
	}
}

// tellSensors tells which sensors there are, and which faults begin and end; readings
// are told by their events.
func (v *hwView) tellSensors(list []api.Sensor) {
	for i := range list {
		s := &list[i]
		k := slices.IndexFunc(v.sensors, func(q api.Sensor) bool { return q.Name == s.Name })
		fault := sensorFault(s)
		switch {
		case k >= 0 && sensorFault(&v.sensors[k]) == fault:
		case fault != "":
			v.c.printf("%s  sensor %s: %s\n", time.Now().Format("15:04:05.000"), plain(s.Name), plain(fault))
		default:
			v.c.printf("%s  sensor %s is at %s\n", time.Now().Format("15:04:05.000"), plain(s.Name), sensorReading(s))
		}
	}
}

func sameLevel(p, q *api.Pin) bool {
	return p.Fault == q.Fault && (p.On == nil) == (q.On == nil) && (p.On == nil || *p.On == *q.On)
}

// topics returns those of inputs and sensors, as many as a stream can carry.
func (v *hwView) topics() (list []string) {
	const room = 64 - 3
	add := func(topic string) {
		if topic != "" && !slices.Contains(list, topic) && len(list) < room {
			list = append(list, topic)
		}
	}
	for i := range v.pins {
		add(v.pins[i].Topic)
	}
	for i := range v.sensors {
		add(v.sensors[i].Topic)
	}
	return list
}

// take keeps what an event or a state tells.
func (v *hwView) take(e api.Event) {
	switch e.Topic {
	case picloud.TopicNodeStats:
		v.stats = decoded[stats.Stats](e.Data)
	case picloud.TopicBoardHealth:
		v.health = decoded[board.Report](e.Data)
	case picloud.TopicBoardPins:
		v.stale = true
	default:
		v.newest[e.Topic] = e
		v.stale = true
		if !v.screen {
			v.c.printf("%s  %s  %s\n", e.PublishedAt.Local().Format("15:04:05.000"), e.Topic, plain(string(e.Data)))
		}
	}
}

// decoded returns nil for what cannot be read.
func decoded[T any](data []byte) *T {
	v := new(T)
	if json.Unmarshal(data, v) != nil {
		return nil
	}
	return v
}

// settle takes what comes at once, and asks for pins and sensors when one of them has
// changed.
func (v *hwView) settle(ctx context.Context, events <-chan api.Event) {
	timer := time.NewTimer(watchSettle)
	defer timer.Stop()
	for {
		select {
		case e := <-events:
			v.take(e)
			continue
		case <-timer.C:
		case <-ctx.Done():
		}
		break
	}
	if v.stale {
		_ = v.poll(ctx) // is asked again in a second
	}
}

// picture draws all of it within a width and a height; pins and sensors that have no room
// are counted.
func (v *hwView) picture(width, height int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "PiCloud, app %s, %s\n\n", plain(v.app), time.Now().Format(time.TimeOnly))
	if len(v.pins) == 0 {
		b.WriteString(noPins(v.app))
	}
	pins := make([][]string, len(v.pins))
	for i := range v.pins {
		p := &v.pins[i]
		event := ""
		if e, has := v.newest[p.Topic]; has && p.Topic != "" {
			event = e.PublishedAt.Local().Format(time.TimeOnly) + " " + string(e.Data)
		}
		pins[i] = []string{p.Name, direction(p), level(p), p.Line, p.Topic, p.Fault + event}
	}
	sensors := make([][]string, len(v.sensors))
	for i := range v.sensors {
		s := &v.sensors[i]
		sensors[i] = []string{s.Name, s.Driver, timeOfDay(s.ReadAt), s.Topic, readingWithFault(s)}
	}
	const others = 8 // lines, with that of the cursor
	height -= others
	if len(sensors) > 0 {
		height -= 2 // empty line and heading
	}
	// Each has half of the lines, and what the other one leaves.
	room := max(1, height-min(len(sensors), height/2))
	drawTable(&b, "PIN DIRECTION LEVEL LINE TOPIC NEWEST", pins, room)
	if len(pins) > 0 && len(sensors) > 0 {
		b.WriteString("\n")
	}
	drawTable(&b, "SENSOR DRIVER READ TOPIC READING", sensors, max(1, height-min(len(pins), room)))
	b.WriteString("\n")
	if h := v.health; h == nil {
		b.WriteString("health   not told by the node yet\n")
	} else {
		fmt.Fprintf(&b, "health   %s, %s, %s, processor %s busy%s\n", orUnknown(h.Celsius, 1, "%.1f °C"),
			condition(h.Undervoltage, "UNDERVOLTAGE", "power well"), condition(h.Throttled, "THROTTLED", "not throttled"), orUnknown(h.CPU, 100, "%.0f %%"), simulatedText(h.Simulated))
	}
	if s := v.stats; s == nil {
		b.WriteString("events   not told by the node yet\n")
	} else {
		fmt.Fprintf(&b, "events   %s a second, %d subscribers\n", orUnknown(s.EventsPerSec, 1, "%.1f"), s.Subscribers)
		fmt.Fprintf(&b, "latency  edge to frame: half within %s, 99 of 100 within %s, %d edges since the start\n", orUnknown(s.EdgeFrameP50, 1, "%.2f ms"), orUnknown(s.EdgeFrameP99, 1, "%.2f ms"), s.Edges)
	}
	return clip(b.String(), width)
}

// drawTable draws a table with room for a number of rows.
func drawTable(b *strings.Builder, heading string, rows [][]string, room int) {
	if len(rows) == 0 {
		return
	}
	shown := rows[:min(len(rows), room)]
	if len(shown) < len(rows) && len(shown) > 1 {
		shown = shown[:len(shown)-1] // for the line that counts the others
	}
	tabulate(b, heading, shown)
	if more := len(rows) - len(shown); more > 0 {
		fmt.Fprintf(b, "and %d more, for which the terminal is too low\n", more)
	}
}

// timeOfDay is when something was, of today.
func timeOfDay(t api.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.TimeOnly)
}

// clip cuts lines to a width in characters.
func clip(text string, width int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if r := []rune(strings.TrimSuffix(line, "\n")); len(r) > width {
			line = string(r[:max(0, width-1)]) + "…\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

func orUnknown(v *float64, unit float64, format string) string {
	if v == nil {
		return "unknown"
	}
	return fmt.Sprintf(format, *v*unit)
}

func condition(v *bool, is, isNot string) string {
	switch {
	case v == nil:
		return "unknown"
	case *v:
		return is
	}
	return isNot
}

func simulatedText(simulated bool) string {
	if simulated {
		return " (simulated)"
	}
	return ""
}

// terminalSize returns the size of the terminal that is written to, which may change at any
// time; where it is unknown, one in which all fits.
func terminalSize(w io.Writer) (width, height int) {
	if f, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 { // #nosec G115 -- descriptors are small
			return width, height
		}
	}
	return math.MaxInt, math.MaxInt
}

// isTerminal reports whether what is written is shown on a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) // #nosec G115 -- descriptors are small
}
