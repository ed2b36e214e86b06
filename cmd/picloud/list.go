package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
)

// listCommand lists things of the app that come in pages: P is a page as the node
// answers it, T one of the things. In JSON there is one a line.
func listCommand[P, T any](c *cli, use, short, things, head string, open func(page *P) (list []T, next *string), row func(*T) []string) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: use, Short: short, Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return fmt.Errorf("%w: --limit %d: use 1 or more", errUsage, limit)
			}
			q := url.Values{"limit": {strconv.Itoa(min(limit, picloud.MaxPage))}}
			if len(args) == 1 {
				q.Set("prefix", args[0])
			}
			var rows [][]string
			path := c.appPath(things) + "?" + q.Encode()
			for left := limit; path != "" && left > 0; {
				var page P
				if err := c.call(cmd.Context(), http.MethodGet, path, nil, &page); err != nil {
					return err
				}
				list, next := open(&page)
				for i := range list[:min(left, len(list))] {
					left--
					if !c.json {
						rows = append(rows, row(&list[i]))
						continue
					}
					line, err := json.Marshal(list[i])
					if err != nil {
						return err
					}
					c.printf("%s\n", line)
				}
				if path = ""; next != nil {
					path = *next
				}
			}
			if !c.json {
				c.table(head, rows)
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 1000, "at most so many")
	return cmd
}
