package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/store"
)

func (c *cli) recoveryKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "recovery-key", Short: "Show what restores this node from Postgres when its card has died", Args: exactly(0),
		Long: "Shows the recovery key of the node. Keep it where the card is not: with it, and with access to the\ndatabase, 'picloud restore --from-postgres' brings the node back. It does not change.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var k api.RecoveryKey
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/recovery-key", nil, &k); err != nil {
				return err
			}
			if c.json {
				return c.print(k)
			}
			c.printf("%s\n", k.Text)
			return nil
		},
	}
}

// restoreFromPostgres brings a node back on a new card.
func (c *cli) restoreFromPostgres(ctx context.Context, cfg daemon.Config, name string) error {
	if !cfg.HasDatabase() {
		return fmt.Errorf("%w: no database is configured: set database.url, or PICLOUD_DATABASE_URL", errUsage)
	}
	key, err := c.askRecoveryKey()
	if err != nil {
		return err
	}
	src, err := pgsync.OpenSource(ctx, cfg.PgsyncConfig(slog.New(slog.DiscardHandler)), name, key, cfg.Retention)
	if err != nil {
		return err
	}
	defer src.Close(ctx)
	done := uint64(0)
	lacking := 0 // files without their contents
	began := time.Now()
	n, err := store.Rebuild(ctx, cfg.StoreConfig(), store.Rebuilt{
		ID: src.ID, Incarnation: src.Incarnation, RecoveryKey: key,
		Fill: func(put func(picloud.Record) error) error {
			return src.Records(ctx, func(r picloud.Record) error {
				if r.Event != nil {
					if done++; done%1000 == 0 {
						c.bar("restored", 0, min(done, src.Events), src.Events, "")
					}
				}
				return put(r)
			})
		},
		Contents: func(put func(name string, part []byte) error) error { return src.Contents(ctx, put) },
		Lacking:  func(picloud.File) { lacking++ },
		HandOver: func(node picloud.Node, last uint64) error { return src.HandOver(ctx, node, last) },
	})
	if done >= 1000 {
		c.endBar()
	}
	if err != nil {
		return err
	}
	c.printf("Restored node %s (%s) into %s: %d events in %v.\n", src.Name, n.ID, cfg.Data, done, time.Since(began).Round(time.Millisecond))
	c.printf("The old card was last seen %s. From now on it is fenced off.\n", src.LastSeen.Local().Format("2006-01-02 15:04:05"))
	if src.Backlog > 0 {
		c.printf("LOST: %d records had not been copied then. They are on the old card, if it can still be read.\n", src.Backlog)
	}
	if src.Lost > 0 {
		c.printf("LOST EARLIER: %d records, dropped from its journal before they could be copied.\n", src.Lost)
	}
	if src.SetAside > 0 {
		c.printf("NOT RESTORED: %d records that an older picloud had set aside without their content; see the table set_aside.\n", src.SetAside)
	}
	if lacking > 0 {
		c.printf("NOT RESTORED: the contents of %d files, which Postgres does not have, or not as they were. Copy the folder 'files' of the old card's data directory into %s.\n", lacking, cfg.Data)
	}
	c.printf("What was published after that moment, and requests that are repeated under an idempotency key, is not known to the new card.\nStart it with 'picloud serve --data %s'.\n", cfg.Data)
	return nil
}

// askRecoveryKey takes the recovery key from where other users do not see it.
func (c *cli) askRecoveryKey() ([]byte, error) {
	text := os.Getenv("PICLOUD_RECOVERY_KEY")
	if text == "" {
		if c.onTerminal() {
			fmt.Fprint(c.err, "Recovery key: ")
		}
		line, _ := bufio.NewReader(c.in).ReadString('\n') // a last line need not end
		if line = strings.TrimSpace(line); line == "" {
			return nil, fmt.Errorf("%w: give the recovery key in PICLOUD_RECOVERY_KEY or on standard input", errUsage)
		}
		text = line
	}
	key, err := api.ParseRecoveryKey(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return key, nil
}
