package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
)

func (c *cli) docsCommand() *cobra.Command {
	cmd := group("docs", "Read and write the documents of the app")
	collections := &cobra.Command{Use: "collections", Short: "List the collections", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		var b api.Collections
		if err := c.call(cmd.Context(), http.MethodGet, c.appPath("docs"), nil, &b); err != nil {
			return err
		}
		if c.json {
			return c.print(b)
		}
		var rows [][]string
		for _, one := range b.Collections {
			rows = append(rows, []string{one.Name, or(strings.Join(one.Indexes, ", "), "-")})
		}
		c.table("COLLECTION INDEXES", rows)
		return nil
	}}
	var indexes []string
	declare := &cobra.Command{
		Use: "declare COLLECTION", Short: "Say by which fields documents are found quickly", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), http.MethodPut, c.appPath("docs", args[0]), api.CollectionSpec{Indexes: indexes}, nil)
		},
	}
	declare.Flags().StringSliceVar(&indexes, "index", nil, "a field, such as owner.name; repeat it for more")
	drop := &cobra.Command{Use: "drop COLLECTION", Short: "Delete a collection with its documents", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return c.call(cmd.Context(), http.MethodDelete, c.appPath("docs", args[0]), nil, nil)
	}}
	get := &cobra.Command{Use: "get COLLECTION ID", Short: "Show a document", Args: exactly(2), RunE: func(cmd *cobra.Command, args []string) error {
		var d api.Document
		if err := c.call(cmd.Context(), http.MethodGet, c.documentPath(args[0], args[1]), nil, &d); err != nil {
			return err
		}
		return c.print(d)
	}}
	remove := &cobra.Command{Use: "delete COLLECTION ID", Short: "Delete a document", Args: exactly(2), RunE: func(cmd *cobra.Command, args []string) error {
		return c.call(cmd.Context(), http.MethodDelete, c.documentPath(args[0], args[1]), nil, nil)
	}}
	cmd.AddCommand(collections, declare, drop, get, c.docsWriteCommand(), c.docsFindCommand(), remove)
	return cmd
}

func (c *cli) documentPath(collection string, id ...string) string {
	return c.appPath(append([]string{"docs", collection, "documents"}, id...)...)
}

func (c *cli) docsWriteCommand() *cobra.Command {
	var id string
	var merge bool
	cmd := &cobra.Command{
		Use: "put COLLECTION [OBJECT]", Short: "Keep a JSON object as a document, and say its id",
		Long:    "Keeps OBJECT, or what is read from standard input when it is missing or '-', as a new document; with --id as the\none of that id; with --merge it is merged into that (RFC 7396).",
		Example: "  picloud docs put orders '{\"who\":\"ada\",\"n\":3}'\n  picloud docs put orders --id 7 --merge '{\"n\":4}'",
		Args:    arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := c.valueOf(args)
			if err != nil {
				return err
			}
			method, path := http.MethodPost, c.documentPath(args[0])
			switch {
			case merge && id == "":
				return fmt.Errorf("%w: --merge needs --id", errUsage)
			case merge:
				method, path = http.MethodPatch, c.documentPath(args[0], id)
			case id != "":
				method, path = http.MethodPut, c.documentPath(args[0], id)
			}
			res, err := c.client().send(cmd.Context(), method, path, body)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }() // only read
			var d api.Document
			if err := readAnswer(res.Body, &d); err != nil {
				return err
			}
			if c.json {
				return c.print(d)
			}
			c.printf("%s\n", d.ID)
			return nil
		},
	}
	cmd.Flags().StringVar(&id, "id", "", "which document")
	cmd.Flags().BoolVar(&merge, "merge", false, "merge into the document that is there")
	return cmd
}

func (c *cli) docsFindCommand() *cobra.Command {
	var where string
	var b api.Find
	cmd := &cobra.Command{
		Use: "find COLLECTION [FIELD=VALUE...]", Short: "Find documents by the values of their fields",
		Long: "Finds the documents of which each FIELD has its VALUE: JSON, or a text. --where takes comparisons.",
		Example: "  picloud docs find orders who=ada paid=true\n" +
			"  picloud docs find orders --where '{\"n\":{\"gte\":3},\"who\":{\"prefix\":\"a\"}}' --sort n --descending",
		Args: arguments(1, anyNumber),
		RunE: func(cmd *cobra.Command, args []string) error {
			fields := map[string]json.RawMessage{}
			if where != "" && json.Unmarshal([]byte(where), &fields) != nil {
				return fmt.Errorf("%w: --where is a JSON object", errUsage)
			}
			for _, arg := range args[1:] {
				name, value, ok := strings.Cut(arg, "=")
				if !ok {
					return fmt.Errorf("%w: %q is not FIELD=VALUE", errUsage, arg)
				}
				fields[name] = asJSON([]byte(value))
			}
			left := b.Limit
			if left < 1 {
				return fmt.Errorf("%w: --limit %d: use 1 or more", errUsage, left)
			}
			var err error
			if b.Where, err = json.Marshal(fields); err != nil {
				return err
			}
			var rows [][]string
			for more := true; more && left > 0; {
				b.Limit = min(left, picloud.MaxPage)
				var page api.Found
				if err := c.call(cmd.Context(), http.MethodPost, c.appPath("docs", args[0], "find"), b, &page); err != nil {
					return err
				}
				for _, d := range page.Documents {
					left--
					if c.json {
						line, err := json.Marshal(d)
						if err != nil {
							return err
						}
						c.printf("%s\n", line)
						continue
					}
					rows = append(rows, []string{d.ID, strconv.FormatUint(d.Version, 10), when(d.UpdatedAt), shown(&api.Entry{Value: d.Body})})
				}
				if more = page.Next != nil; more {
					b.After = *page.Next
				}
			}
			if !c.json {
				c.table("ID VERSION CHANGED DOCUMENT", rows)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&where, "where", "", "conditions as a JSON object; eq, gt, gte, lt, lte, prefix")
	cmd.Flags().StringVar(&b.Sort, "sort", "", "field to sort by; by id if not given")
	cmd.Flags().BoolVar(&b.Descending, "descending", false, "the other way round")
	cmd.Flags().IntVar(&b.Limit, "limit", 100, "documents at most")
	return cmd
}
