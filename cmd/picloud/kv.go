package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func (c *cli) kvCommand() *cobra.Command {
	cmd := group("kv", "Read and write the key-value pairs of the app")
	cmd.AddCommand(c.kvGetCommand(), c.kvSetCommand(), c.kvIncrementCommand(), c.kvListCommand(), &cobra.Command{
		Use: "delete KEY", Short: "Remove a key", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), http.MethodDelete, c.appPath("kv", args[0]), nil, nil)
		},
	})
	return cmd
}

func (c *cli) kvGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get KEY", Short: "Show the value of a key, as it is", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			res, err := c.client().send(cmd.Context(), http.MethodGet, c.appPath("kv", args[0]), nil)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }() // only read
			if _, err := io.Copy(c.out, res.Body); err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			if res.Header.Get("Content-Type") == "application/json" {
				c.printf("\n")
			}
			return nil
		},
	}
}

func (c *cli) kvSetCommand() *cobra.Command {
	var raw, create bool
	var ttl time.Duration
	var version uint64
	cmd := &cobra.Command{
		Use: "set KEY [VALUE]", Short: "Set a key",
		Long:    "Sets KEY to VALUE, or to what is read from standard input when it is missing or '-'. What is not JSON is\nkept as a JSON string; with --bytes it is kept byte by byte.",
		Example: "  picloud kv set lamp '{\"on\":true}'\n  picloud kv set --ttl 1h session-7 ada\n  picloud kv set --bytes icon < icon.png",
		Args:    arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := c.valueOf(args)
			if err != nil {
				return err
			}
			kind := "application/octet-stream"
			if !raw {
				if !utf8.Valid(value) {
					return fmt.Errorf("%w: the value is not UTF-8; --bytes keeps it byte by byte", errUsage)
				}
				value, kind = asJSON(value), "application/json"
			}
			headers := []string{"Content-Type", kind}
			switch {
			case create && version != 0:
				return fmt.Errorf("%w: --create and --version exclude each other", errUsage)
			case create:
				headers = append(headers, "If-None-Match", "*")
			case version != 0:
				headers = append(headers, "If-Match", `"`+strconv.FormatUint(version, 10)+`"`)
			}
			path := c.appPath("kv", args[0])
			if ttl != 0 {
				seconds, err := wholeSeconds("ttl", ttl)
				if err != nil {
					return err
				}
				path += "?ttl_sec=" + strconv.FormatInt(seconds, 10)
			}
			res, err := c.client().send(cmd.Context(), http.MethodPut, path, value, headers...)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }() // only read
			var b api.Changed
			if err := readAnswer(res.Body, &b); err != nil || !c.json {
				return err
			}
			return c.print(b)
		},
	}
	cmd.Flags().BoolVar(&raw, "bytes", false, "keep the value byte by byte")
	cmd.Flags().BoolVar(&create, "create", false, "only if there is no such key")
	cmd.Flags().Uint64Var(&version, "version", 0, "only if the key has this version")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long the key lives; 0: for ever")
	return cmd
}

// valueOf returns the value on the command line, or standard input.
func (c *cli) valueOf(args []string) ([]byte, error) {
	if len(args) == 2 && args[1] != "-" {
		return []byte(args[1]), nil
	}
	b, err := io.ReadAll(io.LimitReader(c.in, picloud.MaxValue+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	return b, nil
}

func (c *cli) kvIncrementCommand() *cobra.Command {
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "increment KEY [BY]", Short: "Add to the number that a key holds; 1 if BY is missing", Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := api.Increment{By: 1}
			var err error
			if len(args) == 2 {
				if in.By, err = strconv.ParseInt(args[1], 10, 64); err != nil {
					return fmt.Errorf("%w: %q is not a whole number", errUsage, args[1])
				}
			}
			if in.TTLSec, err = wholeSeconds("ttl", ttl); err != nil {
				return err
			}
			var e api.Entry
			if err := c.call(cmd.Context(), http.MethodPost, c.appPath("kv", args[0], "increment"), in, &e); err != nil {
				return err
			}
			if c.json {
				return c.print(e)
			}
			c.printf("%s\n", e.Value)
			return nil
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long a key lives that is made by it; 0: for ever")
	return cmd
}

func (c *cli) kvListCommand() *cobra.Command {
	return listCommand(c, "list [PREFIX]", "List keys, in order", "kv", "KEY VERSION ENDS VALUE",
		func(page *api.Entries) ([]api.Entry, *string) { return page.Entries, page.Next },
		func(e *api.Entry) []string {
			return []string{e.Key, strconv.FormatUint(e.Version, 10), when(e.ExpiresAt), shown(e)}
		})
}

// shown is a value as it fits on a line.
func shown(e *api.Entry) string {
	text := string(e.Value)
	if e.Bytes != nil {
		text = fmt.Sprintf("%d bytes: %s", len(*e.Bytes), base64.StdEncoding.EncodeToString((*e.Bytes)[:min(len(*e.Bytes), 30)]))
	}
	const width = 60
	if runes := []rune(text); len(runes) > width {
		return string(runes[:width]) + "…"
	}
	return text
}
