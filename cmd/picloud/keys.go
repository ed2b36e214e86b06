package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
)

func (c *cli) keysCommand() *cobra.Command {
	cmd := group("keys", "List, create and revoke API keys")
	list := &cobra.Command{Use: "list", Short: "List the API keys", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		var b api.Keys
		if err := c.call(cmd.Context(), http.MethodGet, "/v1/keys", nil, &b); err != nil {
			return err
		}
		if c.json {
			return c.print(b)
		}
		rows := make([][]string, len(b.Keys))
		for i, k := range b.Keys {
			app := "(instance)"
			if k.App != nil {
				app = *k.App
			}
			rows[i] = []string{k.ID, app, strings.Join(k.Scopes, ","), when(k.ExpiresAt), when(k.LastUsedAt), k.Label}
		}
		c.table("ID APP SCOPES EXPIRES LAST-USED LABEL", rows)
		return nil
	}}
	var b api.NewKey
	var ttl time.Duration
	var instance bool
	create := &cobra.Command{Use: "create", Short: "Create an API key and show it, this once", Long: "Creates an API key of the app (--app, else PICLOUD_APP, else default) and shows it, this once. With\n--instance or a scope of the instance it is good for all apps.", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		var err error
		if b.TTLSec, err = wholeSeconds("ttl", ttl); err != nil {
			return err
		}
		switch onInstance := slices.ContainsFunc(b.Scopes, func(s string) bool { return strings.HasPrefix(s, "instance:") }); {
		case instance && c.app != "":
			return fmt.Errorf("%w: use --instance or --app, not both", errUsage)
		case !instance && (!onInstance || c.app != ""):
			b.App = c.appName()
		}
		var k api.CreatedKey
		if err := c.call(cmd.Context(), http.MethodPost, "/v1/keys", b, &k); err != nil {
			return err
		}
		if c.json {
			return c.print(k)
		}
		c.printf("%s\n", k.Text)
		_, _ = c.err.Write([]byte("Keep it: it is shown this once, and stored nowhere.\n")) // the key itself is out
		return nil
	}}
	create.Flags().StringSliceVar(&b.Scopes, "scope", nil, "scope, such as app:publish or instance:admin; repeat it for more")
	create.Flags().BoolVar(&instance, "instance", false, "make the key good for all apps, not for one")
	create.Flags().StringVar(&b.Label, "label", "", "what the key is for")
	create.Flags().DurationVar(&ttl, "ttl", 0, "life of the key, such as 720h; 0: it does not expire")
	revoke := &cobra.Command{Use: "revoke ID", Short: "Revoke an API key, at once", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return c.call(cmd.Context(), http.MethodDelete, "/v1/keys/"+url.PathEscape(args[0]), nil, nil)
	}}
	cmd.AddCommand(list, create, revoke)
	return cmd
}

func (c *cli) tokensCommand() *cobra.Command {
	cmd := group("tokens", "Issue subscriber tokens and rotate their signing keys")
	var b api.NewToken
	var ttl time.Duration
	mint := &cobra.Command{Use: "mint TOPIC…", Short: "Issue a subscriber token", Args: arguments(1, anyNumber), RunE: func(cmd *cobra.Command, args []string) error {
		var err error
		if b.TTLSec, err = wholeSeconds("ttl", ttl); err != nil {
			return err
		}
		b.Topics = args
		var t api.Token
		if err := c.call(cmd.Context(), http.MethodPost, c.appPath("subscriber-tokens"), b, &t); err != nil {
			return err
		}
		if c.json {
			return c.print(t)
		}
		c.printf("%s\n", t.Token)
		return nil
	}}
	mint.Flags().DurationVar(&ttl, "ttl", 0, "life of the token; 0: the node's default")
	keys := &cobra.Command{Use: "keys", Short: "List the app's signing keys", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		var b api.SigningKeys
		if err := c.call(cmd.Context(), http.MethodGet, c.appPath("signing-keys"), nil, &b); err != nil {
			return err
		}
		return c.showSigningKeys(b.SigningKeys, b)
	}}
	var overlap time.Duration
	rotate := &cobra.Command{Use: "rotate", Short: "Make a new signing key", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		seconds, err := wholeSeconds("overlap", overlap)
		if err != nil {
			return err
		}
		var k api.SigningKey
		if err := c.call(cmd.Context(), http.MethodPost, c.appPath("signing-keys", "rotate"), api.Rotation{OverlapSec: &seconds}, &k); err != nil {
			return err
		}
		return c.showSigningKeys([]api.SigningKey{k}, k)
	}}
	rotate.Flags().DurationVar(&overlap, "overlap", time.Hour, "how long tokens of the old key stay valid; 0: they end at once")
	cmd.AddCommand(mint, keys, rotate)
	return cmd
}

func (c *cli) showSigningKeys(keys []api.SigningKey, raw any) error {
	if c.json {
		return c.print(raw)
	}
	rows := make([][]string, len(keys))
	for i, k := range keys {
		state := "current"
		if !k.Current {
			state = "until " + when(k.RetiresAt)
		}
		rows[i] = []string{k.ID, when(k.CreatedAt), state}
	}
	c.table("ID CREATED STATE", rows)
	return nil
}
