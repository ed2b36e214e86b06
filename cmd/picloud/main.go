// Command picloud is a node and the tools of its operator in one binary: `picloud
// serve` runs the node, everything else talks to one over its Unix socket or
// HTTP. It holds no logic of the node itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/script"
)

// Packages set both with -ldflags.
var (
	version  = "0.1.0-dev" // of the product
	revision string        // the commit; empty: as Go has recorded it
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == script.WorkerArg {
		os.Exit(script.Work())
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Exit codes, for scripts.
const (
	exitError       = 1
	exitUsage       = 2
	exitUnreachable = 3 // no node answers
	exitRefused     = 4 // the node refuses: a fault in the request or a missing right
	exitNotFound    = 5
	exitBusy        = 6 // the node cannot now: try again later
)

// errUsage marks faults of the command line.
var errUsage = errors.New("usage")

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := daemon.WithSignals(context.Background())
	defer stop()
	written := &output{w: out}
	c := &cli{in: in, out: written, err: errOut}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(written)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = written.err
	}
	if err == nil {
		return 0
	}
	fmt.Fprint(errOut, plainLines("picloud: "+err.Error()))
	return exitCode(err)
}

func exitCode(err error) int {
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		return refused.exitCode()
	case errors.Is(err, errUnreachable):
		return exitUnreachable
	case errors.Is(err, errDenied):
		return exitRefused
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, errNotSynced), errors.Is(err, errNotReadable), errors.Is(err, errNotMeasured):
		return exitBusy
	}
	return exitError
}

// cli is what the commands share.
type cli struct {
	in  io.Reader
	out *output
	err io.Writer

	config, data, socket, url, key, app string
	json                                bool
}

func (c *cli) root() *cobra.Command {
	root := grouped(&cobra.Command{
		Use:           "picloud",
		Short:         "A small, dependable cloud for the room it stands in",
		Long:          "PiCloud publishes events from pins, sensors, programs and files, keeps them, and streams them\nto browsers. 'picloud serve' runs a node; the other commands operate one.\n\nExit codes: 0 done, 1 error, 2 usage, 3 no node answers, 4 refused, 5 not found, 6 try again later.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	})
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	f := root.PersistentFlags()
	f.StringVar(&c.config, "config", "", "configuration file (default "+daemon.DefaultFile+")")
	f.StringVar(&c.data, "data", "", "data directory of the node")
	f.StringVar(&c.socket, "socket", "", "Unix socket of the node")
	f.StringVar(&c.url, "url", "", "URL of a node to talk to over HTTP, such as http://pi.local:7420")
	f.StringVar(&c.key, "key", "", "API key to show; better in PICLOUD_KEY, where other users do not see it")
	f.StringVarP(&c.app, "app", "a", "", "app (default PICLOUD_APP, else default)")
	f.BoolVar(&c.json, "json", false, "answer in JSON")
	root.AddCommand(
		c.serveCommand(), c.statusCommand(), c.doctorCommand(), c.incidentsCommand(), c.verifyCommand(),
		c.appsCommand(), c.topicsCommand(), c.keysCommand(), c.tokensCommand(),
		c.publishCommand(), c.subscribeCommand(), c.eventsCommand(), c.kvCommand(), c.docsCommand(), c.filesCommand(), c.secretsCommand(),
		c.applyCommand(), c.scriptsCommand(), c.triggersCommand(), c.endpointsCommand(), c.runsCommand(), c.lettersCommand(),
		c.syncCommand(), c.migrateCommand(), c.recoveryKeyCommand(), c.nodeCommand(), c.tlsCommand(),
		c.hwCommand(), c.backupCommand(), c.restoreCommand(), c.supportCommand(), c.configCommand(), c.demoCommand(),
		c.manCommand(), c.versionCommand(),
	)
	return root
}

// unlessInterrupted returns err, but for a command that runs until Ctrl-C: being
// interrupted is how it ends well.
func unlessInterrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the versions in this binary", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			if c.json {
				return c.print(versionNumbers())
			}
			c.printf("picloud %s (%s)\nAPI v1, SDK %s, client %s\n%s %s/%s\n", version, commit(), script.SDKVersion, api.ClientVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

// versionNumbers are the versions in this binary.
func versionNumbers() map[string]string {
	return map[string]string{"version": version, "api": "v1", "sdk": script.SDKVersion, "client": api.ClientVersion, "commit": commit(), "go": runtime.Version()}
}

// commit returns the commit this binary was built from.
func commit() string {
	if revision != "" {
		return revision
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	return "unknown"
}
