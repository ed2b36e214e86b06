package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/provision"
)

func (c *cli) applyCommand() *cobra.Command {
	var dry, schema bool
	cmd := &cobra.Command{
		Use: "apply DIR...", Short: "Make apps what directories say they are",
		Long: "Makes an app of each DIR: what app.toml in it says (topics, collections, triggers, endpoints) and the scripts\n" +
			"beside it. All of it is checked before anything changes, and doing it again changes nothing. What the directory\n" +
			"does not mention stays, unless app.toml says prune = true: then other scripts, triggers and endpoints go.\n\n" +
			"With --schema it prints the JSON schema of app.toml, by which editors complete and check the file: keep it as\n" +
			"app.schema.json, and begin app.toml with the line '#:schema app.schema.json'.",
		Example: "  picloud apply --dry-run examples/doorbell\n  picloud apply examples/doorbell\n  picloud apply --schema > app.schema.json",
		RunE: func(cmd *cobra.Command, dirs []string) error {
			if schema != (len(dirs) == 0) {
				return fmt.Errorf("%w: %s: name directories, or use --schema", errUsage, cmd.UseLine())
			}
			if schema {
				c.printf("%s", provision.Schema())
				return nil
			}
			specs := make([]api.Spec, len(dirs))
			for i, dir := range dirs {
				var err error
				if specs[i], err = provision.Read(dir); err == nil && !dry {
					_, err = c.apply(cmd, specs[i], true)
				}
				if err != nil {
					return err
				}
			}
			for _, spec := range specs {
				b, err := c.apply(cmd, spec, dry)
				if err == nil {
					err = c.printApplied(b)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&dry, "dry-run", "n", false, "only say what would change")
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON schema of app.toml")
	return cmd
}

func (c *cli) apply(cmd *cobra.Command, spec api.Spec, dry bool) (b api.Applied, err error) {
	path := "/v1/apply"
	if dry {
		path += "?dry_run=true"
	}
	return b, c.call(cmd.Context(), http.MethodPost, path, spec, &b)
}

func (c *cli) printApplied(b api.Applied) error {
	if c.json {
		text, err := json.Marshal(b)
		if err != nil {
			return err
		}
		c.printf("%s\n", text)
		return nil
	}
	if len(b.Steps) == 0 {
		c.printf("%s: nothing to do\n", b.App)
		return nil
	}
	mark := map[api.Action]string{api.ActionCreate: "+", api.ActionChange: "~", api.ActionDelete: "-"}
	for _, s := range b.Steps {
		c.printf("%s %s: %s %s%s\n", mark[s.Action], b.App, s.Kind, plain(s.Name), prefixed(": ", plain(strings.TrimSpace(s.Detail))))
	}
	return nil
}
