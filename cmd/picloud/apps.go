package main

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
)

func (c *cli) appsCommand() *cobra.Command {
	cmd := group("apps", "List, create, change and delete apps")
	list := &cobra.Command{Use: "list", Short: "List the apps", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		var b api.Apps
		if err := c.call(cmd.Context(), http.MethodGet, "/v1/apps", nil, &b); err != nil {
			return err
		}
		return c.showApps(b.Apps, b)
	}}
	show := &cobra.Command{Use: "show APP", Short: "Show an app", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		c.app = args[0]
		return c.showApp(cmd)
	}}
	var description string
	var origins []string
	create := &cobra.Command{Use: "create APP", Short: "Create an app", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return c.oneApp(cmd, http.MethodPost, "/v1/apps", api.NewApp{Name: args[0], Description: description, AllowedOrigins: origins})
	}}
	update := &cobra.Command{Use: "update APP", Short: "Change an app", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		var p api.AppPatch
		if cmd.Flags().Changed("description") {
			p.Description = &description
		}
		if cmd.Flags().Changed("origin") {
			p.AllowedOrigins = &origins
		}
		c.app = args[0]
		return c.oneApp(cmd, http.MethodPatch, c.appPath(), p)
	}}
	for _, cmd := range []*cobra.Command{create, update} {
		cmd.Flags().StringVar(&description, "description", "", "what the app is for")
		cmd.Flags().StringSliceVar(&origins, "origin", nil, "origin whose pages may use the app; repeat it for more")
	}
	remove := &cobra.Command{Use: "delete APP", Short: "Delete an app with all it has", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		c.app = args[0]
		return c.call(cmd.Context(), http.MethodDelete, c.appPath(), nil, nil)
	}}
	cmd.AddCommand(list, show, create, update, remove)
	return cmd
}

func (c *cli) oneApp(cmd *cobra.Command, method, path string, in any) error {
	var a api.App
	if err := c.call(cmd.Context(), method, path, in, &a); err != nil {
		return err
	}
	return c.showApps([]api.App{a}, a)
}

// showApp shows an app with what it keeps.
func (c *cli) showApp(cmd *cobra.Command) error {
	var a api.App
	if err := c.call(cmd.Context(), http.MethodGet, c.appPath(), nil, &a); err != nil {
		return err
	}
	if err := c.showApps([]api.App{a}, a); err != nil || c.json || a.Usage == nil {
		return err
	}
	u := a.Usage
	rows := [][]string{
		amountRow("data", u.Data), amountRow("results", u.Results), amountRow("anonymous results", u.Anonymous), amountRow("idempotency keys today", u.IdempotencyKeys),
		amountRow("topic names", u.TopicNames), amountRow("scripts", u.Scripts), amountRow("runs", u.Runs), amountRow("dead letters", u.DeadLetters),
	}
	c.printf("\n")
	c.table("KEEPS ITEMS OF-AT-MOST SIZE OF-AT-MOST", rows)
	if u.LettersDropped > 0 {
		c.printf("\n%d dead letters were dropped for newer ones\n", u.LettersDropped)
	}
	return nil
}

func amountRow(name string, a api.Amount) []string {
	number := func(n int64, text string) string {
		if n == 0 {
			return "-"
		}
		return text
	}
	return []string{
		name, strconv.FormatInt(a.Items, 10), number(a.MaxItems, strconv.FormatInt(a.MaxItems, 10)), number(a.Bytes, mib(a.Bytes)), number(a.MaxBytes, mib(a.MaxBytes)),
	}
}

func (c *cli) showApps(apps []api.App, raw any) error {
	if c.json {
		return c.print(raw)
	}
	rows := make([][]string, len(apps))
	for i, a := range apps {
		rows[i] = []string{a.Name, when(a.CreatedAt), strings.Join(a.AllowedOrigins, ","), a.Description}
	}
	c.table("APP CREATED ORIGINS DESCRIPTION", rows)
	return nil
}
