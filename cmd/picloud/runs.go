package main

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
)

func (c *cli) runsCommand() *cobra.Command {
	cmd := group("runs", "Look at the latest runs of scripts")
	var limit int
	list := &cobra.Command{Use: "list [SCRIPT]", Short: "List the latest runs, newest first", Args: atMostOne, RunE: func(cmd *cobra.Command, args []string) error {
		q := url.Values{"limit": {strconv.Itoa(limit)}}
		if len(args) == 1 {
			q.Set("script", args[0])
		}
		var b api.Runs
		if err := c.call(cmd.Context(), http.MethodGet, c.appPath("runs")+"?"+q.Encode(), nil, &b); err != nil {
			return err
		}
		if c.json {
			return c.print(b)
		}
		var rows [][]string
		for _, r := range b.Runs {
			rows = append(rows, []string{r.ID, when(r.StartedAt), r.Script + "@" + strconv.FormatUint(r.Version, 10), r.Cause, duration(r.DurationMS), r.Outcome, r.Error})
		}
		c.table("RUN STARTED SCRIPT CAUSE TOOK OUTCOME ERROR", rows)
		return nil
	}}
	list.Flags().IntVarP(&limit, "limit", "n", 20, "runs at most")
	show := &cobra.Command{Use: "show RUN", Short: "Show a run with its console", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		var b api.Run
		if err := c.call(cmd.Context(), http.MethodGet, c.appPath("runs", args[0]), nil, &b); err != nil {
			return err
		}
		if c.json {
			return c.print(b)
		}
		return c.printRun(&b)
	}}
	cmd.AddCommand(list, show)
	return cmd
}
