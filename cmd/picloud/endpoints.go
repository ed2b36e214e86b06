package main

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
)

func (c *cli) endpointsCommand() *cobra.Command {
	cmd := group("endpoints", "Let scripts of the app answer HTTP requests")
	list := &cobra.Command{Use: "list", Short: "List the endpoints", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		var b api.Endpoints
		if err := c.call(cmd.Context(), http.MethodGet, c.appPath("endpoints"), nil, &b); err != nil {
			return err
		}
		if c.json {
			return c.print(b)
		}
		var rows [][]string
		for _, e := range b.Endpoints {
			rows = append(rows, []string{e.Name, e.Method, "/apps/" + c.appName() + e.Path, e.Auth, e.Script})
		}
		c.table("NAME METHOD PATH AUTH SCRIPT", rows)
		return nil
	}}
	remove := &cobra.Command{Use: "delete NAME", Short: "Delete an endpoint", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return c.call(cmd.Context(), http.MethodDelete, c.appPath("endpoints", args[0]), nil, nil)
	}}
	var b api.EndpointSpec
	var timeout time.Duration
	set := &cobra.Command{
		Use: "set NAME", Short: "Make or change an endpoint",
		Example: "  picloud endpoints set order --method GET --path '/orders/{id}' --script orders --export show --auth public",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.TimeoutSec = timeout.Seconds()
			var e api.Endpoint
			if err := c.call(cmd.Context(), http.MethodPut, c.appPath("endpoints", args[0]), b, &e); err != nil {
				return err
			}
			if c.json {
				return c.print(e)
			}
			return nil
		},
	}
	f := set.Flags()
	f.StringVar(&b.Method, "method", "", "GET (default), POST, PUT, PATCH, DELETE, or * for any")
	f.StringVar(&b.Path, "path", "", "path below /apps/APP, such as /orders/{id}")
	f.StringVar(&b.Script, "script", "", "the script that answers")
	f.StringVar(&b.Export, "export", "", "which function of it; default if not given")
	f.StringVar(&b.Auth, "auth", "", "key (default): who shows a key that may invoke; public: anybody")
	f.DurationVar(&timeout, "timeout", 0, "longest run (default 30s)")
	cmd.AddCommand(list, set, remove)
	return cmd
}
