package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
)

func (c *cli) hwSimCommand() *cobra.Command {
	cmd := group("sim", "Press the inputs of a simulated board")
	cmd.AddCommand(c.hwSimPressCommand(), c.hwSimSetCommand())
	return cmd
}

func (c *cli) hwSimPressCommand() *cobra.Command {
	var length, bounce, every time.Duration
	var times int
	cmd := &cobra.Command{
		Use: "press PIN", Short: "Make a simulated input on for a moment, as a finger does", Args: exactly(1),
		Long: "Makes PIN on and off again. The node has to run with hw.driver = \"sim\". With --every it goes on until\n" +
			"interrupted, and waits for a node that is away.",
		Example: "  picloud hw sim press bell\n  picloud hw sim press bell --bounce 15ms --for 2s\n  picloud hw sim press meter --for 30ms --times 20",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case length%time.Millisecond != 0 || bounce%time.Millisecond != 0:
				return fmt.Errorf("%w: --for %v --bounce %v: use whole milliseconds", errUsage, length, bounce)
			case length <= 0 || bounce < 0 || bounce > length:
				return fmt.Errorf("%w: --for %v --bounce %v: use 1ms or more, and a bounce that is no longer", errUsage, length, bounce)
			case times < 1:
				return fmt.Errorf("%w: --times %d: use 1 or more", errUsage, times)
			case cmd.Flags().Changed("every") && every <= 0:
				return fmt.Errorf("%w: --every %v: use a time above 0", errUsage, every)
			}
			press := api.Press{ForMS: new(length.Milliseconds()), Times: &times, BounceMS: new(bounce.Milliseconds())}
			send := func() error {
				return c.call(cmd.Context(), http.MethodPost, c.appPath("pins", args[0], "press"), press, nil)
			}
			if every == 0 {
				return send()
			}
			return unlessInterrupted(cmd.Context(), c.repeat(cmd.Context(), every, send))
		},
	}
	cmd.Flags().DurationVar(&length, "for", 100*time.Millisecond, "how long it is on, and off after it, each time")
	cmd.Flags().IntVar(&times, "times", 1, "how often it is pressed")
	cmd.Flags().DurationVar(&bounce, "bounce", 0, "how long its contact bounces each time")
	cmd.Flags().DurationVar(&every, "every", 0, "press again after so long, until interrupted (default: once)")
	return cmd
}

// repeat does a thing at once and then at an interval, until ctx ends. Faults that pass
// are waited for.
func (c *cli) repeat(ctx context.Context, every time.Duration, do func() error) error {
	for {
		if err := do(); err != nil && !passing(err) {
			return err
		}
		if err := sleep(ctx, every); err != nil {
			return err
		}
	}
}

func (c *cli) hwSimSetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "set PIN on|off", Short: "Make a simulated input on or off, and leave it so", Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			on, err := parseLevel(args[1])
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodPost, c.appPath("pins", args[0], "press"), api.Press{On: &on}, nil)
		},
	}
}
