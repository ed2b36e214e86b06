package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// anyNumber is no upper bound of arguments.
const anyNumber = -1

// exactly makes a command take n arguments.
func exactly(n int) cobra.PositionalArgs { return arguments(n, n) }

var atMostOne = arguments(0, 1)

// arguments makes a command take lo to hi arguments; another number is a fault of usage.
func arguments(lo, hi int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if n := len(args); n < lo || (n > hi && hi != anyNumber) {
			return fmt.Errorf("%w: %s: it takes %s, and %d %s given", errUsage, cmd.UseLine(), argumentCount(lo, hi), n, plural(n, "was", "were"))
		}
		return nil
	}
}

// argumentCount words how many arguments a command takes.
func argumentCount(lo, hi int) string {
	switch {
	case hi == 0:
		return "no arguments"
	case hi == lo:
		return fmt.Sprintf("%d %s", lo, plural(lo, "argument", "arguments"))
	case hi == anyNumber:
		return fmt.Sprintf("%d %s or more", lo, plural(lo, "argument", "arguments"))
	case lo == 0:
		return fmt.Sprintf("at most %d %s", hi, plural(hi, "argument", "arguments"))
	}
	return fmt.Sprintf("%d to %d arguments", lo, hi)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
