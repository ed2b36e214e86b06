package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/daemon"
)

func (c *cli) serveCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the node", Args: exactly(0),
		Long: "Runs the node until SIGTERM. The configuration comes from the file, conf.d beside it, PICLOUD_\nvariables and flags; later ones win. 'picloud config show' lists all settings.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			src := c.source(cmd)
			if cmd.Flags().Changed("listen") {
				src.Flags["listen"] = listen
			}
			cfg, err := daemon.Load(src)
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			file := src.File
			if file == "" {
				file = daemon.DefaultFile
			}
			return daemon.Run(cmd.Context(), cfg, daemon.Options{
				Build: daemon.Build{Version: version, Commit: commit()}, Log: c.err, Watch: []string{file},
				Reload: func() (daemon.Config, error) { return daemon.Load(src) },
			})
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "address and port for HTTP (default 0.0.0.0:7420)")
	return cmd
}

// source says where the configuration comes from.
func (c *cli) source(cmd *cobra.Command) daemon.Source {
	src := daemon.Source{File: c.config, Env: os.Environ(), Flags: map[string]string{}}
	for name, value := range map[string]string{"data": c.data, "socket": c.socket} {
		if cmd.Flags().Changed(name) {
			src.Flags[name] = value
		}
	}
	return src
}

func (c *cli) configCommand() *cobra.Command {
	cmd := group("config", "Check or show the configuration, or print an example")
	cmd.AddCommand(
		&cobra.Command{
			Use: "check", Short: "Say whether the configuration is sound", Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error {
				cfg, err := daemon.Load(c.source(cmd))
				if err != nil {
					return err
				}
				notes, err := cfg.CheckHere()
				if err != nil {
					return err
				}
				if len(notes) > 0 {
					c.printf("The configuration is sound, but %s.\n", plain(strings.Join(notes, "; ")))
				} else {
					c.printf("The configuration is sound.\n")
				}
				return nil
			},
		},
		&cobra.Command{
			Use: "show", Short: "List all settings with their values", Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error {
				cfg, err := daemon.Load(c.source(cmd))
				if err != nil {
					return err
				}
				c.printf("%s", cfg.Show())
				return nil
			},
		},
		c.configExampleCommand(),
	)
	return cmd
}
