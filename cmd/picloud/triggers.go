package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
)

func (c *cli) triggersCommand() *cobra.Command {
	cmd := group("triggers", "Say what makes scripts of the app run")
	list := &cobra.Command{Use: "list", Short: "List the triggers and how their deliveries are doing", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		var b api.Triggers
		if err := c.call(cmd.Context(), http.MethodGet, c.appPath("triggers"), nil, &b); err != nil {
			return err
		}
		if c.json {
			return c.print(b)
		}
		var rows [][]string
		for _, t := range b.Triggers {
			rows = append(rows, append([]string{t.Name, t.Kind, or(matched(&t), "*"), t.Script}, triggerState(&t)...))
		}
		c.table("NAME KIND MATCHES SCRIPT STATE WAITING DONE FAILED", rows)
		return nil
	}}
	show := &cobra.Command{Use: "show NAME", Short: "Show a trigger", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		var t api.Trigger
		if err := c.call(cmd.Context(), http.MethodGet, c.appPath("triggers", args[0]), nil, &t); err != nil {
			return err
		}
		return c.print(t)
	}}
	remove := &cobra.Command{Use: "delete NAME", Short: "Delete a trigger with what it still owes", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return c.call(cmd.Context(), http.MethodDelete, c.appPath("triggers", args[0]), nil, nil)
	}}
	backfill := &cobra.Command{
		Use: "backfill NAME", Short: "Make a dead_letter trigger owe the dead letters that were there before it", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.counted(cmd, c.appPath("triggers", args[0], "backfill"), nil, "owed")
		},
	}
	cmd.AddCommand(list, show, c.triggersSetCommand(), c.switchCommand("enable", "Owe and deliver again", true), c.switchCommand("disable", "Owe nothing new, and let wait what is owed", false), backfill, remove)
	return cmd
}

// matched says in a word what a trigger matches.
func matched(t *api.Trigger) string {
	prefix := t.Prefix
	if prefix != "" {
		prefix += "*"
	}
	return strings.TrimSpace(or(t.Topic, prefix, t.Collection, t.Schedule, t.Source) + " " + t.TimeZone)
}

func triggerState(t *api.Trigger) []string {
	st, state := &t.Status, "idle"
	switch {
	case t.Enabled != nil && !*t.Enabled:
		state = "disabled"
	case !st.PausedUntil.IsZero():
		state = "paused: " + st.Error
	case st.BehindRecords > 0:
		state = fmt.Sprintf("behind by %d records", st.BehindRecords)
	case st.Running > 0:
		state = "running"
	case st.Waiting > 0:
		state = "waiting"
	}
	return []string{state, strconv.Itoa(st.Waiting), strconv.FormatUint(st.Done, 10), strconv.FormatUint(st.Failed, 10)}
}

// counted asks for something to be done and says to how many it was.
func (c *cli) counted(cmd *cobra.Command, path string, in any, word string) error {
	var b api.Counted
	if err := c.call(cmd.Context(), http.MethodPost, path, in, &b); err != nil {
		return err
	}
	if c.json {
		return c.print(b)
	}
	c.printf("%d %s\n", b.Count, word)
	if b.Left > 0 {
		c.printf("%d left: their trigger is gone, or they count deliveries whose data is\n", b.Left)
	}
	return nil
}

func (c *cli) triggersSetCommand() *cobra.Command {
	var b api.TriggerSpec
	var retry api.Retry
	var first, longest, timeout time.Duration
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Make or change a trigger",
		Long: "Makes a trigger, or gives the one of that name what the flags say and defaults for the rest. It concerns what\nhappens from then on.",
		Example: "  picloud triggers set bell --kind pubsub --topic door --script bell\n" +
			"  picloud triggers set morning --kind cron --schedule '0 8 * * mon-fri' --time-zone Europe/Berlin --script summary\n" +
			"  picloud triggers set lamps --kind kv --prefix lamp/ --ordered --concurrency 4 --script lamps",
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			retry.FirstSec, retry.MaxSec, b.TimeoutSec = first.Seconds(), longest.Seconds(), timeout.Seconds()
			if retry != (api.Retry{}) {
				b.Retry = &retry
			}
			var t api.Trigger
			if err := c.call(cmd.Context(), http.MethodPut, c.appPath("triggers", args[0]), b, &t); err != nil {
				return err
			}
			if c.json {
				return c.print(t)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&b.Kind, "kind", "", "pubsub, kv, docs, files, cron or dead_letter")
	f.StringVar(&b.Script, "script", "", "the script that runs")
	f.StringVar(&b.Export, "export", "", "which function of it; default if not given")
	f.StringVar(&b.Topic, "topic", "", "pubsub: the topic")
	f.StringVar(&b.Prefix, "prefix", "", "pubsub, kv, files: what the topic, key or path begins with")
	f.StringVar(&b.Collection, "collection", "", "docs: the collection")
	f.StringVar(&b.Schedule, "schedule", "", "cron: minute hour day month weekday, or @hourly, @daily, @every 90s")
	f.StringVar(&b.TimeZone, "time-zone", "", "cron: such as Europe/Berlin; UTC if not given")
	f.StringVar(&b.CatchUp, "catch-up", "", "cron: one run (default) or none for times that were missed")
	f.StringVar(&b.Source, "source", "", "dead_letter: only of this trigger")
	f.IntVar(&retry.Attempts, "attempts", 0, "how often a delivery is tried (default 8)")
	f.DurationVar(&first, "retry-first", 0, "pause after the first failure, which doubles (default 1s)")
	f.DurationVar(&longest, "retry-max", 0, "longest pause (default 5m)")
	f.DurationVar(&timeout, "timeout", 0, "longest run, with all waiting (default 30s)")
	f.IntVar(&b.Concurrency, "concurrency", 0, "runs at once (default 1)")
	f.BoolVar(&b.Ordered, "ordered", false, "one after another for each topic, key, document or path")
	return cmd
}

// switchCommand enables or disables triggers.
func (c *cli) switchCommand(name, short string, enabled bool) *cobra.Command {
	return &cobra.Command{Use: name + " NAME", Short: short, Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		var t api.Trigger
		path := c.appPath("triggers", args[0])
		if err := c.call(cmd.Context(), http.MethodGet, path, nil, &t); err != nil {
			return err
		}
		t.Enabled = &enabled
		return c.call(cmd.Context(), http.MethodPut, path, t.TriggerSpec, nil)
	}}
}

func (c *cli) lettersCommand() *cobra.Command {
	cmd := group("dead-letters", "Look at deliveries that were given up, and try them again")
	var trigger string
	list := &cobra.Command{Use: "list", Short: "List dead letters, oldest first", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		path := c.appPath("dead-letters") + "?limit=1000"
		if trigger != "" {
			path += "&trigger=" + trigger
		}
		var rows [][]string
		for path != "" {
			var b api.DeadLetters
			if err := c.call(cmd.Context(), http.MethodGet, path, nil, &b); err != nil {
				return err
			}
			if c.json {
				if err := c.print(b); err != nil {
					return err
				}
			}
			for _, l := range b.DeadLetters {
				rows = append(rows, []string{l.ID, when(l.CreatedAt), l.Trigger, string(l.What.Kind) + " " + l.What.Name, strconv.Itoa(l.Attempts), l.Reason})
			}
			if path = ""; b.Next != nil {
				path = *b.Next
			}
		}
		if !c.json {
			c.table("ID MADE TRIGGER ABOUT ATTEMPTS REASON", rows)
		}
		return nil
	}}
	list.Flags().StringVar(&trigger, "trigger", "", "only of this trigger")
	show := &cobra.Command{Use: "show ID", Short: "Show a dead letter with what it was about", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		var l api.DeadLetter
		if err := c.call(cmd.Context(), http.MethodGet, c.appPath("dead-letters", args[0]), nil, &l); err != nil {
			return err
		}
		return c.print(l)
	}}
	cmd.AddCommand(list, show, c.eachLetterCommand("redrive", "Owe dead letters again, as the deliveries they were", "redriven"), c.eachLetterCommand("purge", "Remove dead letters for good", "purged"))
	return cmd
}

func (c *cli) eachLetterCommand(name, short, done string) *cobra.Command {
	var b api.LetterSelection
	var olderThan time.Duration
	cmd := &cobra.Command{Use: name + " [ID...]", Short: short, RunE: func(cmd *cobra.Command, args []string) error {
		b.IDs = args
		if olderThan != 0 {
			b.Before = time.Now().Add(-olderThan).UTC().Format(time.RFC3339Nano)
		}
		if len(args) == 0 && b.Trigger == "" && b.Before == "" && !b.All {
			return fmt.Errorf("%w: give ids, --trigger, --older-than or --all", errUsage)
		}
		return c.counted(cmd, c.appPath("dead-letters", name), b, done)
	}}
	cmd.Flags().StringVar(&b.Trigger, "trigger", "", "those of this trigger")
	cmd.Flags().DurationVar(&olderThan, "older-than", 0, "those that are older")
	cmd.Flags().BoolVar(&b.All, "all", false, "all of them")
	return cmd
}
