package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/pgsync"
)

func (c *cli) migrateCommand() *cobra.Command {
	cmd := group("migrate", "The tables of the copy in Postgres")
	cmd.AddCommand(
		&cobra.Command{
			Use: "status", Short: "List the migrations and when they were applied", Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.withSchema(cmd, pgsync.MigrateStatus, c.showSchema)
			},
		},
		&cobra.Command{
			Use: "up", Short: "Apply the migrations that the database lacks", Args: exactly(0),
			Long: "Applies the migrations that the database lacks, in one transaction and under a lock. A node does that\nby itself unless database.migrate is false; then this command does, with a role that may create tables.",
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.withSchema(cmd, pgsync.MigrateUp, c.showSchema)
			},
		},
		&cobra.Command{
			Use: "check", Short: "Say whether this picloud can write to the database", Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.withSchema(cmd, pgsync.MigrateStatus, func(st pgsync.SchemaStatus) error {
					if err := st.Usable(); err != nil {
						return err
					}
					c.printf("The schema %q is at version %d: this picloud can write to it.\n", st.Schema, st.Version)
					return nil
				})
			},
		},
	)
	return cmd
}

// withSchema does something with the database that the configuration names.
func (c *cli) withSchema(cmd *cobra.Command, do func(context.Context, pgsync.Config) (pgsync.SchemaStatus, error), show func(pgsync.SchemaStatus) error) error {
	cfg, err := daemon.Load(c.source(cmd))
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if !cfg.HasDatabase() {
		return fmt.Errorf("%w: %w", errUsage, errors.New("no database is configured: set database.url, or PICLOUD_DATABASE_URL"))
	}
	st, err := do(cmd.Context(), cfg.PgsyncConfig(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	return show(st)
}

func (c *cli) showSchema(st pgsync.SchemaStatus) error {
	if c.json {
		return c.print(st)
	}
	var rows [][]string
	for _, step := range st.Steps {
		applied := "-"
		if !step.Applied.IsZero() {
			applied = step.Applied.Local().Format("2006-01-02 15:04:05")
		}
		rows = append(rows, []string{fmt.Sprint(step.Version), step.Name, applied})
	}
	c.table("VERSION NAME APPLIED", rows)
	c.printf("\nThe schema %q is at version %d, this picloud has %d.\n", st.Schema, st.Version, st.Known)
	return nil
}
