package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func (c *cli) secretsCommand() *cobra.Command {
	cmd := group("secrets", "Keep what only scripts of the app may read")
	list := &cobra.Command{Use: "list", Short: "List the names of the secrets", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		var b api.Secrets
		if err := c.call(cmd.Context(), http.MethodGet, c.appPath("secrets"), nil, &b); err != nil {
			return err
		}
		if c.json {
			return c.print(b)
		}
		var rows [][]string
		for _, s := range b.Secrets {
			rows = append(rows, []string{s.Name, when(s.UpdatedAt)})
		}
		c.table("NAME SET", rows)
		return nil
	}}
	set := &cobra.Command{
		Use: "set NAME", Short: "Set a secret to what is typed in, or read from standard input",
		Long:    "Asks for the value, without showing it, or reads it from standard input; a line break at its end does not belong\nto it. It is not taken from the command line, where others could see it. Nothing but scripts of the app ever gets\nit back.",
		Example: "  picloud secrets set mail-password\n  pass show mail | picloud secrets set mail-password",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := c.readSecret(args[0])
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodPut, c.appPath("secrets", args[0]), api.SecretValue{Value: value}, nil)
		},
	}
	remove := &cobra.Command{Use: "delete NAME", Short: "Delete a secret", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return c.call(cmd.Context(), http.MethodDelete, c.appPath("secrets", args[0]), nil, nil)
	}}
	cmd.AddCommand(list, set, remove)
	return cmd
}

func (c *cli) readSecret(name string) (string, error) {
	if f, ok := c.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(c.err, "Value of %s: ", plain(name))
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.err)
		if err != nil {
			return "", fmt.Errorf("read the value: %w", err)
		}
		return string(b), nil
	}
	b, err := io.ReadAll(io.LimitReader(c.in, picloud.MaxSecret+2))
	if err != nil {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	if !utf8.Valid(b) {
		return "", fmt.Errorf("%w: a secret is text in UTF-8; give bytes as base64", errUsage)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}
