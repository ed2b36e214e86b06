package main

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
)

// topicFlags are what a topic can be told.
type topicFlags struct {
	description, auth, durability string
	maxEvents                     int
	maxBytes                      int64
	maxAge                        time.Duration
}

func (f *topicFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.description, "description", "", "what the topic carries")
	cmd.Flags().StringVar(&f.auth, "auth", "", "what outsiders must show: token (default) or public")
	cmd.Flags().StringVar(&f.durability, "durability", "", "sync (default), or telemetry: answered before it is on the card")
	cmd.Flags().IntVar(&f.maxEvents, "max-events", 0, "newest events kept; 0: the node's default")
	cmd.Flags().DurationVar(&f.maxAge, "max-age", 0, "age up to which events are kept; 0: the node's default")
	cmd.Flags().Int64Var(&f.maxBytes, "max-bytes", 0, "bytes of data kept; 0: the node's default")
}

// retains reports whether the retention is to change.
func (f *topicFlags) retains(cmd *cobra.Command) bool {
	is := cmd.Flags().Changed
	return is("max-events") || is("max-age") || is("max-bytes")
}

// retention returns r with what was given on the command line. A request
// replaces all limits together, so what was not given must be in it.
func (f *topicFlags) retention(cmd *cobra.Command, r api.Retention) (*api.Retention, error) {
	if cmd.Flags().Changed("max-events") {
		r.MaxEvents = f.maxEvents
	}
	if cmd.Flags().Changed("max-bytes") {
		r.MaxBytes = f.maxBytes
	}
	if cmd.Flags().Changed("max-age") {
		var err error
		if r.MaxAgeSec, err = wholeSeconds("max-age", f.maxAge); err != nil {
			return nil, err
		}
	}
	return &r, nil
}

func (c *cli) topicsCommand() *cobra.Command {
	cmd := group("topics", "List, register, change and delete topics")
	list := &cobra.Command{Use: "list", Short: "List the registered topics of the app", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		var b api.Topics
		if err := c.call(cmd.Context(), http.MethodGet, c.appPath("topics"), nil, &b); err != nil {
			return err
		}
		return c.showTopics(b.Topics, b)
	}}
	show := &cobra.Command{Use: "show TOPIC", Short: "Show a topic", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return c.oneTopic(cmd, http.MethodGet, c.appPath("topics", args[0]), nil)
	}}
	var f topicFlags
	var external bool
	create := &cobra.Command{Use: "create TOPIC", Short: "Register a topic", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		retention, err := f.retention(cmd, api.Retention{})
		if err != nil {
			return err
		}
		return c.oneTopic(cmd, http.MethodPost, c.appPath("topics"), api.NewTopic{
			Name: args[0], Description: f.description, External: external, AuthMode: f.auth, Durability: f.durability, Retention: retention,
		})
	}}
	create.Flags().BoolVar(&external, "external", false, "outsiders may subscribe")
	update := &cobra.Command{Use: "update TOPIC", Short: "Change a topic", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		var p api.TopicPatch
		if f.retains(cmd) {
			var now api.Topic
			err := c.call(cmd.Context(), http.MethodGet, c.appPath("topics", args[0]), nil, &now)
			if err != nil {
				return err
			}
			if p.Retention, err = f.retention(cmd, now.Retention); err != nil {
				return err
			}
		}
		for name, field := range map[string]struct {
			to   **string
			from *string
		}{"description": {&p.Description, &f.description}, "auth": {&p.AuthMode, &f.auth}, "durability": {&p.Durability, &f.durability}} {
			if cmd.Flags().Changed(name) {
				*field.to = field.from
			}
		}
		return c.oneTopic(cmd, http.MethodPatch, c.appPath("topics", args[0]), p)
	}}
	f.add(create)
	f.add(update)
	flip := &cobra.Command{Use: "external TOPIC on|off", Short: "Let outsiders subscribe, or not", Args: exactly(2), RunE: func(cmd *cobra.Command, args []string) error {
		on, err := parseLevel(args[1])
		if err != nil {
			return err
		}
		return c.oneTopic(cmd, http.MethodPatch, c.appPath("topics", args[0], "external"), api.ExternalPatch{External: &on})
	}}
	remove := &cobra.Command{Use: "delete TOPIC", Short: "Delete a topic and hide its history", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return c.call(cmd.Context(), http.MethodDelete, c.appPath("topics", args[0]), nil, nil)
	}}
	cmd.AddCommand(list, show, create, update, flip, remove)
	return cmd
}

func (c *cli) oneTopic(cmd *cobra.Command, method, path string, in any) error {
	var t api.Topic
	if err := c.call(cmd.Context(), method, path, in, &t); err != nil {
		return err
	}
	return c.showTopics([]api.Topic{t}, t)
}

func (c *cli) showTopics(topics []api.Topic, raw any) error {
	if c.json {
		return c.print(raw)
	}
	rows := make([][]string, len(topics))
	for i, t := range topics {
		access := "internal"
		if t.External {
			access = "external, " + t.AuthMode
		}
		rows[i] = []string{t.Name, access, t.Durability, t.Description}
	}
	c.table("TOPIC ACCESS DURABILITY DESCRIPTION", rows)
	return nil
}
