package main

import (
	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/store"
)

func (c *cli) nodeCommand() *cobra.Command {
	cmd := group("node", "Who the node on this card is")
	cmd.AddCommand(
		c.identityCommand("new-identity", "Make this card another node, with all it has",
			"For the copy of a card that is to live beside the original: apps, topics, keys and history stay, and\nare copied to Postgres as those of a new node. The node must not run.",
			store.NewIdentity, "This card is now node %s. Its recovery key is a new one: 'picloud recovery-key' shows it.\n"),
		c.identityCommand("take-over", "Make this card the one that goes on, when there is another of the same node",
			"When a card was copied, or set back to an older image, and this is the one that counts: it begins\nanother epoch, and all other cards of this node are fenced off in Postgres. The node must not run.",
			store.TakeOver, "This card is node %s from now on; others of it are fenced off as soon as it reaches Postgres.\n"),
	)
	return cmd
}

func (c *cli) identityCommand(use, short, long string, change func(dir string) (picloud.Node, error), done string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := daemon.Load(c.source(cmd))
			if err != nil {
				return err
			}
			n, err := change(cfg.Data)
			if err != nil {
				return err
			}
			c.printf(done, n.ID)
			return nil
		},
	}
}
