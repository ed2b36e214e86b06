package main

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
)

func (c *cli) filesCommand() *cobra.Command {
	cmd := group("files", "Write, read and list the files of the app")
	remove := &cobra.Command{Use: "delete PATH", Short: "Delete a file", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return c.call(cmd.Context(), http.MethodDelete, c.filePath(args[0]), nil, nil)
	}}
	cmd.AddCommand(c.filesListCommand(), c.filesPutCommand(), c.filesGetCommand(), remove)
	return cmd
}

// filePath is the address of a file: its slashes stay what they are.
func (c *cli) filePath(path string) string {
	return c.appPath(append([]string{"files"}, strings.Split(path, "/")...)...)
}

func (c *cli) filesListCommand() *cobra.Command {
	return listCommand(c, "list [PREFIX]", "List the files whose paths begin with PREFIX, in order", "files", "PATH BYTES TYPE CHANGED",
		func(page *api.Files) ([]api.File, *string) { return page.Files, page.Next },
		func(f *api.File) []string {
			return []string{f.Path, strconv.FormatInt(f.Size, 10), f.Type, when(f.UpdatedAt)}
		})
}

func (c *cli) filesPutCommand() *cobra.Command {
	var kind string
	var create bool
	cmd := &cobra.Command{
		Use: "put FILE [PATH]", Short: "Write a file of this machine into the app",
		Long:    "Writes FILE, or what is read from standard input when it is '-', to PATH in the app; PATH is the name of FILE if it\nis missing, and one that ends with '/' is where that name goes. Whoever reads PATH meanwhile reads what was there.",
		Example: "  picloud files put photo.jpg\n  picloud files put photo.jpg photos/2026/\n  tar c . | picloud files put - backup.tar",
		Args:    arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to := args[0], filepath.Base(args[0])
			if len(args) == 2 {
				to = args[1]
			}
			if strings.HasSuffix(to, "/") {
				to += filepath.Base(from)
			}
			in, size := c.in, int64(-1)
			if from != "-" {
				f, err := os.Open(from) // #nosec G304 -- the operator says which
				if err != nil {
					return err //nolint:wrapcheck // names the file and the cause
				}
				defer func() { _ = f.Close() }() // only read
				info, err := f.Stat()
				if err != nil {
					return err //nolint:wrapcheck // as above
				}
				if info.IsDir() {
					return fmt.Errorf("%w: %s is a folder; write its files one by one", errUsage, from)
				}
				in, size = f, info.Size()
			} else if len(args) == 1 {
				return fmt.Errorf("%w: say to which PATH", errUsage)
			}
			headers := []string{"Content-Type", or(kind, mime.TypeByExtension(filepath.Ext(to)), "application/octet-stream")}
			if create {
				headers = append(headers, "If-None-Match", "*")
			}
			res, err := c.client().sendFrom(cmd.Context(), http.MethodPut, c.filePath(to), c.progress("sent", in, max(size, 0)), size, headers...)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }() // only read
			var b api.File
			if err := readAnswer(res.Body, &b); err != nil {
				return err
			}
			if c.json {
				return c.print(b)
			}
			c.printf("%s: %d bytes, version %d\n", b.Path, b.Size, b.Version)
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "type", "", "content type, such as image/jpeg (default: from the ending of PATH)")
	cmd.Flags().BoolVar(&create, "create", false, "only if there is no such file")
	return cmd
}

func (c *cli) filesGetCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use: "get PATH", Short: "Read a file of the app",
		Long:    "Writes the file at PATH to standard output, or into the file that --to names, which appears when all of it is there.",
		Example: "  picloud files get photos/2026/photo.jpg --to photo.jpg",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			res, err := c.client().send(cmd.Context(), http.MethodGet, c.filePath(args[0]), nil)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }() // only read
			if to == "" {
				_, err = io.Copy(c.out, res.Body)
			} else {
				err = writeWhole(to, c.progress("received", res.Body, res.ContentLength))
			}
			if err != nil {
				return fmt.Errorf("receive the file: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "file to write")
	return cmd
}

// writeWhole writes a file that is there when it is whole.
func writeWhole(path string, r io.Reader) error {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644) // #nosec G302 G304 -- as any file the operator makes
	if err != nil {
		return err //nolint:wrapcheck // names the file and the cause
	}
	_, err = io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		_ = os.Remove(part) // the first error is the one to tell
	}
	return err
}
