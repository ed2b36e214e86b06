package main

import "github.com/spf13/cobra"

func (c *cli) hwCommand() *cobra.Command {
	cmd := group("hw", "Show the board and its pins")
	cmd.AddCommand(c.hwHealthCommand(), c.hwHeaderCommand())
	return cmd
}
