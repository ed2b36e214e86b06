package main

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
)

func (c *cli) incidentsCommand() *cobra.Command {
	cmd := group("incidents", "Losses and damage that the node has found")
	cmd.Long = "The node keeps what it has lost, or found damaged, and is degraded until each incident has been\nacknowledged. The topic $node/damage has an event for each."
	list := &cobra.Command{Use: "list", Short: "List the incidents, oldest first", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		var b api.Incidents
		if err := c.call(cmd.Context(), http.MethodGet, "/v1/incidents", nil, &b); err != nil {
			return err
		}
		if c.json {
			return c.print(b)
		}
		var rows [][]string
		for _, in := range b.Incidents {
			rows = append(rows, []string{in.ID, when(in.At), when(in.AcknowledgedAt), strings.TrimSpace(in.Text + " " + in.Healed)})
		}
		c.table("ID FOUND ACKNOWLEDGED WHAT", rows)
		return nil
	}}
	var all bool
	ack := &cobra.Command{
		Use: "ack [ID...]", Short: "Acknowledge incidents, so that they degrade the node no more",
		Example: "  picloud incidents ack 3f9c0a11d2\n  picloud incidents ack --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) > 0) == all {
				return fmt.Errorf("%w: name incidents by their ids, or use --all", errUsage)
			}
			var b api.Counted
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/incidents/ack", api.IncidentSelection{IDs: args, All: all}, &b); err != nil {
				return err
			}
			if c.json {
				return c.print(b)
			}
			c.printf("%d acknowledged\n", b.Count)
			return nil
		},
	}
	ack.Flags().BoolVar(&all, "all", false, "acknowledge all of them")
	cmd.AddCommand(list, ack)
	return cmd
}
