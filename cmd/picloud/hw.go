package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/board"
)

// Errors about what is unknown.
var (
	errNotReadable = errors.New("the pin cannot be read")
	errNotMeasured = errors.New("the sensor cannot be read")
)

func (c *cli) hwCommand() *cobra.Command {
	cmd := group("hw", "Show the board, its pins and sensors, and set its outputs")
	cmd.AddCommand(
		c.hwListCommand(),
		c.hwReadCommand(),
		c.hwSetCommand(),
		c.hwPulseCommand(),
		c.hwWatchCommand(),
		c.hwSimCommand(),
		c.hwHealthCommand(),
		c.hwHeaderCommand(),
		c.hwSensorsCommand(),
		c.hwScanCommand(),
	)
	return cmd
}

func (c *cli) hwListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the pins of the app with their levels", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list api.Pins
			if err := c.call(cmd.Context(), http.MethodGet, c.appPath("pins"), nil, &list); err != nil {
				return err
			}
			if c.json {
				return c.print(list.Pins)
			}
			if len(list.Pins) == 0 {
				c.printf("%s", noPins(c.appName()))
				return nil
			}
			rows := make([][]string, len(list.Pins))
			for i := range list.Pins {
				p := &list.Pins[i]
				rows[i] = []string{p.Name, direction(p), level(p), setBy(p), p.Line, faultOf(p)}
			}
			c.table("PIN DIRECTION LEVEL SET-BY LINE FAULT", rows)
			return nil
		},
	}
}

func (c *cli) hwReadCommand() *cobra.Command {
	return &cobra.Command{
		Use: "read PIN|SENSOR", Short: "Show whether a pin is on or off, or the latest reading of a sensor", Args: exactly(1),
		Long: "Shows the level of a pin of the app, on or off, or the latest reading of a sensor; of the two, the pin where both\n" +
			"have the name. What is unknown is an error with exit code 6; with --json it is null, and fault says why.",
		Example: "  picloud hw read door\n  picloud hw read room",
		RunE: func(cmd *cobra.Command, args []string) error {
			var p api.Pin
			err := c.call(cmd.Context(), http.MethodGet, c.appPath("pins", args[0]), nil, &p)
			if refused, ok := errors.AsType[*refusedError](err); ok && refused.Type == api.ProblemPrefix+board.ErrPinNotFound.Type {
				return c.readSensor(cmd.Context(), args[0])
			}
			if err != nil {
				return err
			}
			if c.json {
				return c.print(p)
			}
			if p.On == nil {
				return fmt.Errorf("%w: the level of %s is unknown: %s", errNotReadable, p.Name, plain(p.Fault))
			}
			c.printf("%s\n", onOff(*p.On))
			return nil
		},
	}
}

func (c *cli) hwSetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "set PIN on|off", Short: "Set an output", Args: exactly(2),
		Example: "  picloud hw set lamp on",
		RunE: func(cmd *cobra.Command, args []string) error {
			on, err := parseLevel(args[1])
			if err != nil {
				return err
			}
			return c.setPin(cmd, args[0], api.PinChange{On: &on})
		},
	}
}

func (c *cli) hwPulseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pulse PIN DURATION [on|off]", Short: "Set an output for a while", Args: arguments(2, 3),
		Long: "Sets PIN on, or off, for DURATION, 1ms to 24h, and then to the opposite. The node ends the pulse, whatever becomes\n" +
			"of this command. Of two pulses at the same level the later end counts.",
		Example: "  picloud hw pulse door-opener 500ms\n  picloud hw pulse pump 10m off",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := time.ParseDuration(args[1])
			if err != nil || d%time.Millisecond != 0 {
				return fmt.Errorf("%w: %q is no duration in whole milliseconds; use one such as 500ms or 2m", errUsage, args[1])
			}
			on := true
			if len(args) == 3 {
				if on, err = parseLevel(args[2]); err != nil {
					return err
				}
			}
			ms := d.Milliseconds()
			return c.setPin(cmd, args[0], api.PinChange{On: &on, ForMS: &ms})
		},
	}
}

// noPins says how an app gets pins.
func noPins(app string) string {
	return fmt.Sprintf("The app %s has no pins: name them in the configuration of the node, in [hw.inputs.NAME] and [hw.outputs.NAME] (docs/board.md).\n", plain(app))
}

// setPin changes an output and shows what has become of it.
func (c *cli) setPin(cmd *cobra.Command, name string, change api.PinChange) error {
	var p api.Pin
	if err := c.call(cmd.Context(), http.MethodPut, c.appPath("pins", name), change, &p); err != nil {
		return err
	}
	if c.json {
		return c.print(p)
	}
	c.printf("%s is %s\n", p.Name, level(&p))
	return nil
}

func parseLevel(text string) (on bool, err error) {
	switch strings.ToLower(text) {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, fmt.Errorf("%w: %q: use on or off", errUsage, text)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// level is the level of a pin for people, with what is left of a pulse, and the change
// that is held back.
func level(p *api.Pin) string {
	var words []string
	if p.On == nil {
		words = append(words, "unknown")
	} else {
		words = append(words, onOff(*p.On))
	}
	if p.ForMS > 0 {
		words = append(words, "for", (time.Duration(p.ForMS) * time.Millisecond).String())
	}
	if c := p.Pending; c != nil {
		words[len(words)-1] += ","
		words = append(words, onOff(c.On), "in", (time.Duration(c.InMS) * time.Millisecond).String())
	}
	if p.Simulated {
		words = append(words, "(simulated)")
	}
	return strings.Join(words, " ")
}

// setBy is the source of the last change of a pin, or the topic that has not set it yet.
func setBy(p *api.Pin) string {
	if p.Follow != nil && p.Follow.Event == "" {
		return "topic:" + p.Follow.Topic + " (no event yet)"
	}
	return p.SetBy
}

// faultOf is what is wrong with a pin, or with the event that it follows.
func faultOf(p *api.Pin) string {
	if p.Fault == "" && p.Follow != nil && p.Follow.Fault != "" {
		return fmt.Sprintf("topic %s, event %s: %s", p.Follow.Topic, p.Follow.Event, p.Follow.Fault)
	}
	return p.Fault
}

func direction(p *api.Pin) string {
	if p.Output {
		return "output"
	}
	return "input"
}
