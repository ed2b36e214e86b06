package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/picloud/picloud/api"
)

func (c *cli) syncCommand() *cobra.Command {
	cmd := group("sync", "The copy of the node in Postgres")
	cmd.AddCommand(
		&cobra.Command{
			Use: "status", Short: "Show how far the copy has come", Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error {
				st, err := c.syncStatus(cmd.Context())
				if err != nil {
					return err
				}
				if c.json {
					return c.print(st)
				}
				c.showSync(st)
				return nil
			},
		},
		c.syncWaitCommand(),
		&cobra.Command{
			Use: "retry", Short: "Try to reach Postgres now, not when the pause is over", Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return c.call(cmd.Context(), http.MethodPost, "/v1/sync/retry", nil, nil)
			},
		},
	)
	return cmd
}

// refusedFix is what to do about records that were set aside.
const refusedFix = "They are whole in the table set_aside and come back with a restore: write a newer value that Postgres takes, or mend what refuses them and move them as docs/postgres.md shows."

// refusedLine names the records that were set aside.
func refusedLine(st api.Sync) string {
	var names []string
	for _, r := range st.Refused {
		names = append(names, refusedName(r))
	}
	if more := int64(st.SetAside) - int64(len(names)); more > 0 { // #nosec G115 -- counts
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

func refusedName(r api.Refused) string {
	if r.App == "" {
		return plain(fmt.Sprintf("%s %q", r.Kind, r.Name))
	}
	return plain(fmt.Sprintf("%s %q of app %q", r.Kind, r.Name, r.App))
}

// syncLine says in a line how the copy is doing.
func syncLine(st api.Sync) string {
	var text string
	switch {
	case !st.Configured:
		return "no copy is configured"
	case st.Error != "":
		return fmt.Sprintf("%s; %d records wait: %s", st.State, st.Waiting, plain(st.Error))
	case st.Waiting > 0:
		text = fmt.Sprintf("%s; %d records to go", st.State, st.Waiting)
	default:
		text = "everything is there"
	}
	if st.SetAside > 0 {
		text += fmt.Sprintf("; %d records were set aside (table set_aside)", st.SetAside)
	}
	if st.Lost > 0 {
		text += fmt.Sprintf("; %d were lost before they could be copied", st.Lost)
	}
	return text
}

func (c *cli) syncStatus(ctx context.Context) (api.Sync, error) {
	var st api.Sync
	err := c.call(ctx, http.MethodGet, "/v1/sync", nil, &st)
	return st, err
}

func (c *cli) showSync(st api.Sync) {
	if !st.Configured {
		c.printf("state       off: no database is configured (database.url)\n")
		return
	}
	c.printf("state       %s since %s\nposition    record %d of %d\nwaiting     %d records, the oldest for %v\nthroughput  %.0f records/s\nset aside   %d records (table set_aside)\nlost        %d records, ever\n",
		st.State, when(st.Since), st.Position, st.LastLSN, st.Waiting, time.Duration(st.LagSec*float64(time.Second)).Round(time.Second), st.PerSec, st.SetAside, st.Lost)
	for _, r := range st.Refused {
		c.printf("refused     %s: %s\n", refusedName(r), plain(r.Reason))
	}
	if st.Error != "" {
		c.printf("error       %s\n            at %s; next try at %s\n", plain(st.Error), when(st.FailedAt), when(st.NextTryAt))
	}
	if st.Advice != "" {
		c.printf("to do       %s\n", plain(st.Advice))
	}
}

var errNotSynced = errors.New("not everything has reached Postgres in time")

func (c *cli) syncWaitCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "wait", Short: "Wait until everything that is on the card now is in Postgres too", Args: exactly(0),
		Long: "Waits until everything that is on the card now is in Postgres too. Exits with 6 when that takes\nlonger than the timeout.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := cmd.Context(), context.CancelFunc(func() {})
			if timeout > 0 {
				ctx, cancel = context.WithTimeoutCause(ctx, timeout, errNotSynced)
			}
			defer cancel()
			return c.waitForSync(ctx)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after this time (default: never)")
	return cmd
}

func (c *cli) waitForSync(ctx context.Context) error {
	st, err := c.syncStatus(ctx)
	if err != nil {
		return err
	}
	if !st.Configured {
		return errors.New("no database is configured: set database.url and restart the node")
	}
	from, to := st.Position, st.LastLSN
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for st.Position < to {
		c.bar("copied", from, st.Position, to, st.Error)
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.endBar()
			return context.Cause(ctx)
		}
		next, err := c.syncStatus(ctx)
		if err != nil {
			c.endBar()
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return err
		}
		st = next
	}
	if to > from {
		c.bar("copied", from, to, to, "")
		c.endBar()
	}
	if c.json {
		return c.print(st)
	}
	c.printf("Everything up to record %d is in Postgres.\n", to)
	return nil
}

// bar shows on a terminal how far something has come.
func (c *cli) bar(what string, from, at, to uint64, fault string) {
	if !c.onTerminal() {
		return
	}
	const width = 30
	done := width * (at - from) / max(1, to-from)
	if fault != "" {
		fault = " waiting: " + plain(fault)
	}
	fmt.Fprintf(c.err, "\r\x1b[K%s [%s%s] %d of %d%.60s", what, strings.Repeat("#", int(done)), strings.Repeat(".", width-int(done)), at-from, to-from, fault) // #nosec G115 -- at most width
}

func (c *cli) endBar() {
	if c.onTerminal() {
		fmt.Fprintln(c.err)
	}
}

// onTerminal reports whether a person looks at what is going on.
func (c *cli) onTerminal() bool {
	f, ok := c.err.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) // #nosec G115 -- descriptors are small
}
