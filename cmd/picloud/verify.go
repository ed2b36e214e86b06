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
		Long: "Reads the journal, all rows and the contents of files at full speed, and checks them. What is damaged\nbecomes an incident. The node does so by itself once a week, slowly. Ends with 1 when something is damaged.",
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
			}
			switch {
			case v.Error != "":
				return errors.New(plain(v.Error))
			case v.Damaged > 0:
				return fmt.Errorf("%d of them are damaged; 'picloud incidents list' says which", v.Damaged)
			}
			return nil
		},
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
