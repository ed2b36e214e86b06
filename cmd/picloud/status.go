package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/board"
)

func (c *cli) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the node is doing", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var n api.Node
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/node", nil, &n); err != nil {
				return err
			}
			if c.json {
				return c.print(n)
			}
			st, err := c.syncStatus(cmd.Context())
			if err != nil {
				return err
			}
			var r board.Report
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/node/board", nil, &r); err != nil {
				return err
			}
			c.printf("node         %s (%s)\nversion      %s (%s)\nstatus       %s\nup           %v\nsubscribers  %d\njournal      %s in %d segments, the last record is %d\npublished    %d events in %d commits since the start\ncard         %s written in the last day, of %s that it should bear\n",
				n.Name, n.ID, n.Version, n.Commit, n.Status, time.Duration(n.UptimeSec)*time.Second, n.Subscribers,
				mib(n.Storage.JournalBytes), n.Storage.Segments, n.Storage.LastLSN, n.Storage.Events, n.Storage.Commits,
				mib(n.Storage.WrittenDay), mib(n.Storage.WearBudget))
			c.printf("apps         %d triggers, %d deliveries done and %d given up since the start, %d wait, %d dead letters\n",
				n.Apps.Triggers, n.Apps.Done, n.Apps.Buried, n.Apps.Waiting, n.Apps.DeadLetters)
			c.printf("memory       %s of %s held for requests, %d refused since the start\n", mib(int64(n.Memory.HeldBytes)), mib(int64(n.Memory.BudgetBytes)), n.Memory.Refused)
			if n.Apps.Behind > 0 || n.Apps.Dropped > 0 {
				c.printf("slow         %d triggers are behind, %d deliveries dropped since the start\n", n.Apps.Behind, n.Apps.Dropped)
			}
			c.printf("data         %s\n", dataLine(n.Apps))
			if n.TLS != nil {
				c.printf("https        %s\n", plain(certificateFinding(n.TLS).Says))
			}
			c.printf("postgres     %s\n", syncLine(st))
			c.printf("board        %s\n", plain(boardLine(&r)))
			for _, note := range n.Notes {
				c.printf("note         %s\n", note)
			}
			return nil
		},
	}
}

// dataLine says how much data the apps keep.
func dataLine(a api.Activity) string {
	if a.DataQuota == 0 {
		return mib(a.DataBytes) + " of all apps, which have no quota"
	}
	return mib(a.DataBytes) + " of all apps, of which each may have " + mib(a.DataQuota)
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
