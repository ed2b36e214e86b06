package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
)

func (c *cli) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Read everything that the node keeps, and look for damage", Args: exactly(0),
		Long: "Reads the journal, all rows and the contents of files at full speed, and checks them. What is damaged\nbecomes an incident, and comes back from the copy in Postgres if that has it. Names and versions are compared with the copy, and what\nis missing there is copied. The node does so by itself once a week, slowly. Ends with 1 when something is damaged, or only in the copy.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := c.verify(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				if err := c.print(v); err != nil {
					return err
				}
			} else {
				c.printf("%d records, %d rows and %d files were read, %s, in %v\n", v.Records, v.Rows, v.Files, mib(v.Bytes), v.EndedAt.Sub(v.StartedAt.Time).Round(time.Millisecond))
				c.printComparison(&v)
			}
			switch {
			case v.Error != "":
				return errors.New(plain(v.Error))
			case v.Damaged > 0:
				return fmt.Errorf("%d of them are damaged; 'picloud incidents list' says which", v.Damaged)
			case v.Compared != nil && len(v.Compared.Lost) > 0:
				return errors.New("the copy has what the node has not; 'picloud incidents list' says more")
			}
			return nil
		},
	}
}

// printComparison tells how the copy in Postgres and the node differed.
func (c *cli) printComparison(v *api.Verification) {
	switch d := v.Compared; {
	case v.NotCompared != "":
		c.printf("not compared with the copy: %s\n", plain(v.NotCompared))
	case d == nil:
	case len(d.Lost)+len(d.Missing) == 0:
		c.printf("the copy in Postgres has the same %d things\n", d.Things)
	default:
		for _, name := range d.Missing {
			c.printf("was missing in the copy, and is there now: %s\n", plain(name))
		}
		for _, name := range d.Lost {
			c.printf("only the copy has, or in a newer version: %s\n", plain(name))
		}
	}
}

// verify asks for a look at everything, and waits for its end.
func (c *cli) verify(ctx context.Context) (api.Verification, error) {
	var v api.Verification
	err := c.call(ctx, http.MethodPost, "/v1/verify", nil, &v)
	for err == nil && v.Running {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return v, ctx.Err()
		}
		v = api.Verification{}
		err = c.call(ctx, http.MethodGet, "/v1/verify", nil, &v)
	}
	return v, err
}
