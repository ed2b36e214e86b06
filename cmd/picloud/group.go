package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// group returns a command that only holds others. Alone it shows its help; a
// name it does not hold is a fault of usage, so that a script notices a typing
// error.
func group(use, short string) *cobra.Command {
	return grouped(&cobra.Command{Use: use, Short: short})
}

func grouped(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := ""
		if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
			hint = "; did you mean " + strings.Join(names, " or ") + "?"
		}
		return fmt.Errorf("%w: there is no command '%s %s'%s", errUsage, cmd.CommandPath(), args[0], hint)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.SuggestionsMinimumDistance = 2
	return cmd
}

// wholeSeconds returns d in seconds, as requests have it. What is shorter than
// a second, but not nothing, is refused: as 0 it would mean the default, or
// "for ever".
func wholeSeconds(flag string, d time.Duration) (int64, error) {
	if d < 0 || (d > 0 && d < time.Second) {
		return 0, fmt.Errorf("%w: --%s %v: use 1s or more", errUsage, flag, d)
	}
	return int64(d / time.Second), nil
}
