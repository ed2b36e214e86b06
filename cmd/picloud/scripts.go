package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/provision"
	"github.com/picloud/picloud/script"
)

func (c *cli) scriptsCommand() *cobra.Command {
	cmd := group("scripts", "Push, pull, run and watch the scripts of the app")
	list := &cobra.Command{Use: "list", Short: "List the scripts", Args: exactly(0), RunE: func(cmd *cobra.Command, _ []string) error {
		return c.listScripts(cmd, c.appPath("scripts"))
	}}
	versions := &cobra.Command{Use: "versions NAME", Short: "List the versions of a script that are kept", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return c.listScripts(cmd, c.appPath("scripts", args[0], "versions"))
	}}
	remove := &cobra.Command{Use: "delete NAME", Short: "Delete a script with all its versions", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return c.call(cmd.Context(), http.MethodDelete, c.appPath("scripts", args[0]), nil, nil)
	}}
	types := &cobra.Command{
		Use: "types", Short: "Write what the SDK consists of, for editors (TypeScript)", Example: "  picloud scripts types > picloud.d.ts", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			c.printf("%s", script.Types)
			return nil
		},
	}
	cmd.AddCommand(list, types, c.scriptsPushCommand(), c.scriptsPullCommand(), c.scriptsShowCommand(), versions, c.scriptsRunCommand(), c.scriptsLogsCommand(), remove)
	return cmd
}

func (c *cli) listScripts(cmd *cobra.Command, path string) error {
	var b api.Scripts
	if err := c.call(cmd.Context(), http.MethodGet, path, nil, &b); err != nil {
		return err
	}
	if c.json {
		return c.print(b)
	}
	var rows [][]string
	for _, s := range b.Scripts {
		rows = append(rows, []string{s.Name, strconv.FormatUint(s.Version, 10), strconv.Itoa(s.Size), when(s.UpdatedAt)})
	}
	c.table("NAME VERSION BYTES SAVED", rows)
	return nil
}

func (c *cli) scriptsPushCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "push FILE...", Short: "Save files as scripts",
		Long:    "Saves each FILE as a script that is called what the file is called, without .js or .mjs. A folder stands for\nthe files of that kind in it, '-' for standard input. A script that has not changed gets no new version.",
		Example: "  picloud scripts push door.js\n  picloud scripts push scripts/\n  picloud scripts push --name door - < door.js",
		Args:    arguments(1, anyNumber),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := scriptFiles(args)
			if err != nil {
				return err
			}
			if name != "" && len(files) != 1 {
				return fmt.Errorf("%w: --name goes with one file", errUsage)
			}
			for _, file := range files {
				if err := c.pushScript(cmd, file, or(name, scriptName(file))); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what the script is called")
	return cmd
}

// scriptFiles are the files that arguments stand for.
func scriptFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		switch {
		case arg == "-":
			files = append(files, arg)
			continue
		case err != nil:
			return nil, err //nolint:wrapcheck // names the file and the cause
		case !info.IsDir():
			files = append(files, arg)
			continue
		}
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, err //nolint:wrapcheck // as above
		}
		found := len(files)
		for _, e := range entries {
			if _, ok := provision.ScriptName(e.Name()); ok && !e.IsDir() {
				files = append(files, filepath.Join(arg, e.Name()))
			}
		}
		if len(files) == found {
			return nil, fmt.Errorf("%w: there is no .js or .mjs file in %s", errUsage, arg)
		}
	}
	return files, nil
}

// scriptName is what a script is called that a file holds.
func scriptName(file string) string {
	if name, ok := provision.ScriptName(filepath.Base(file)); ok {
		return name
	}
	return filepath.Base(file)
}

func (c *cli) pushScript(cmd *cobra.Command, file, name string) error {
	var source []byte
	var err error
	if file == "-" {
		if name == "-" {
			return fmt.Errorf("%w: say with --name what the script is called", errUsage)
		}
		source, err = io.ReadAll(io.LimitReader(c.in, picloud.MaxScript+1))
	} else {
		source, err = os.ReadFile(file) // #nosec G304 -- the operator says which
	}
	if err != nil {
		return fmt.Errorf("read the script: %w", err)
	}
	res, err := c.client().send(cmd.Context(), http.MethodPut, c.appPath("scripts", name), source, "Content-Type", "text/javascript")
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer func() { _ = res.Body.Close() }() // only read
	var b api.Script
	if err := readAnswer(res.Body, &b); err != nil {
		return err
	}
	if c.json {
		return c.print(b)
	}
	c.printf("%s: version %d\n", b.Name, b.Version)
	return nil
}

func (c *cli) scriptsPullCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use: "pull [NAME...]", Short: "Write scripts into files; all of them if none is named",
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) == 0 {
				var b api.Scripts
				if err := c.call(cmd.Context(), http.MethodGet, c.appPath("scripts"), nil, &b); err != nil {
					return err
				}
				for _, s := range b.Scripts {
					names = append(names, s.Name)
				}
			}
			if err := os.MkdirAll(to, 0o755); err != nil { // #nosec G301 -- scripts are no secret of the operator's machine
				return err //nolint:wrapcheck // names the file and the cause
			}
			for _, name := range names {
				if err := check.Handle("script", name); err != nil { // whatever the node says: it becomes the name of a file
					return fmt.Errorf("%w: %w", errUsage, err)
				}
				source, err := c.scriptSource(cmd, c.appPath("scripts", name))
				if err != nil {
					return err
				}
				file := filepath.Join(to, name+".js")
				if err := os.WriteFile(file, source, 0o644); err != nil { // #nosec G306 -- as above
					return err //nolint:wrapcheck // names the file and the cause
				}
				c.printf("%s\n", file)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&to, "to", ".", "folder for the files")
	return cmd
}

func (c *cli) scriptSource(cmd *cobra.Command, path string) ([]byte, error) {
	res, err := c.client().send(cmd.Context(), http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // only read
	source, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return source, nil
}

func (c *cli) scriptsShowCommand() *cobra.Command {
	var version uint64
	cmd := &cobra.Command{Use: "show NAME", Short: "Show the source of a script", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		path := c.appPath("scripts", args[0])
		if version != 0 {
			path = c.appPath("scripts", args[0], "versions", strconv.FormatUint(version, 10))
		}
		source, err := c.scriptSource(cmd, path)
		if err != nil {
			return err
		}
		c.printf("%s", source)
		return nil
	}}
	cmd.Flags().Uint64Var(&version, "version", 0, "an older version")
	return cmd
}

// errRunFailed says that a script was run and failed.
var errRunFailed = errors.New("the run failed")

func (c *cli) scriptsRunCommand() *cobra.Command {
	var export string
	cmd := &cobra.Command{
		Use: "run NAME [INPUT]", Short: "Run a script once, and show its console and what it returns",
		Long:    "Runs a script once. INPUT is JSON, or a text that becomes a JSON string; '-' reads it from standard input. The\nconsole of the script goes to standard error, what it returns to standard output.",
		Example: "  picloud scripts run door '{\"open\":true}'",
		Args:    arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := api.NewRun{Export: export}
			if len(args) == 2 {
				value, err := c.valueOf(args)
				if err != nil {
					return err
				}
				in.Input = asJSON(value)
			}
			var out api.RunResult
			if err := c.call(cmd.Context(), http.MethodPost, c.appPath("scripts", args[0], "run"), in, &out); err != nil {
				return err
			}
			if c.json {
				if err := c.print(out); err != nil {
					return err
				}
			} else {
				printLines(c.err, &out.Run)
				if out.Outcome == picloud.RunOK {
					c.printf("%s\n", out.Output)
				}
			}
			if out.Outcome != picloud.RunOK {
				return fmt.Errorf("%w: %s%s", errRunFailed, plain(out.Error), indented(out.Stack))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&export, "export", "", "which function of it to call; default if not given")
	return cmd
}

func printLines(w io.Writer, r *api.Run) {
	for _, l := range r.Lines {
		fmt.Fprintf(w, "%s %-5s %s\n", l.At.Local().Format("15:04:05.000"), l.Level, plain(l.Text))
	}
	if r.Truncated {
		fmt.Fprintln(w, "… more lines were written than are kept")
	}
}

func indented(stack string) string {
	if stack = strings.TrimSpace(stack); stack == "" {
		return ""
	}
	var b strings.Builder
	for line := range strings.SplitSeq(stack, "\n") {
		b.WriteString("\n        " + plain(strings.TrimSpace(line))) // deeper than lines of the console, which it cannot pass for
	}
	return b.String()
}

func (c *cli) scriptsLogsCommand() *cobra.Command {
	var follow bool
	var limit int
	cmd := &cobra.Command{
		Use: "logs [NAME]", Short: "Show what the latest runs wrote to the console and how they ended", Args: atMostOne,
		Long: "Shows what the latest runs wrote to the console and how they ended. With -f it goes on until interrupted; when\nthe node goes away it is waited for.",
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			if len(args) == 1 {
				q.Set("script", args[0])
			}
			for away := false; ; {
				var b api.Runs
				err := c.call(cmd.Context(), http.MethodGet, c.appPath("runs")+"?"+q.Encode(), nil, &b)
				switch {
				case err == nil:
				case !follow:
					return err
				case !passing(err):
					return unlessInterrupted(cmd.Context(), err)
				default:
					if !away {
						fmt.Fprintln(c.err, "picloud: waiting for the node")
					}
					away = true
					if err := sleep(cmd.Context(), time.Second); err != nil {
						return unlessInterrupted(cmd.Context(), err)
					}
					continue
				}
				if away {
					fmt.Fprintln(c.err, "picloud: the node is back")
				}
				away = false
				for _, r := range slices.Backward(b.Runs) {
					if err := c.printRun(&r); err != nil {
						return err
					}
					q.Set("after", r.ID)
				}
				if !follow {
					return nil
				}
				q.Set("limit", strconv.Itoa(picloud.MaxPage))
				q.Set("wait_sec", "30")
			}
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new runs as they end")
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "runs at most")
	return cmd
}

// printRun writes a run as a log is read: its lines, then how it ended.
func (c *cli) printRun(r *api.Run) error {
	if c.json {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		c.printf("%s\n", b)
		return nil
	}
	c.printf("%s %s@%d %s: %s in %s%s%s\n", when(r.StartedAt), plain(r.Script), r.Version, plain(r.Cause), r.Outcome, duration(r.DurationMS), prefixed(": ", plain(r.Error)), indented(r.Stack))
	for _, l := range r.Lines {
		c.printf("    %-5s %s\n", l.Level, plain(l.Text))
	}
	return nil
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func duration(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(10 * time.Microsecond).String()
}
