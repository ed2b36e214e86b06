package main

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/store"
)

func (c *cli) backupCommand() *cobra.Command {
	var to string
	var keep int
	cmd := &cobra.Command{
		Use: "backup [FILE]", Short: "Write a consistent, checksummed backup of the node", Args: atMostOne,
		Long: "Writes everything the node knows into one archive, while it serves. Without FILE it is named\nafter the node and the time; '-' is standard output. The file appears under its name only when it is\nwhole and has been read back. What is damaged on the node (contents of files that are not what was\nwritten, records of the journal) is named, left to the backup as it is, and the exit status is 1.\n\n" +
			"With --to DIR the archive is named after the node, its id and the time, and with --keep N only the newest N of\nsuch archives stay: older ones are removed when the new one is whole, and never when something was damaged.",
		Example: "  picloud backup\n  picloud backup --to /mnt/usb --keep 7\n  picloud backup - | ssh nas 'cat > picloud.tar.gz'",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case to != "" && len(args) > 0:
				return fmt.Errorf("%w: name a file or give --to, not both", errUsage)
			case cmd.Flags().Changed("keep") && (to == "" || keep < 1):
				return fmt.Errorf("%w: --keep is 1 or more, and goes with --to", errUsage)
			case to != "":
				return c.backupTo(cmd.Context(), to, keep, c.dataDir(cmd))
			case len(args) > 0:
				return c.fetchBackup(cmd.Context(), args[0])
			}
			return c.fetchBackup(cmd.Context(), "")
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "directory for the archive, which gets a name of its own")
	cmd.Flags().IntVar(&keep, "keep", 0, "with --to: how many archives of the node are kept there (default all)")
	return cmd
}

// fetchBackup writes a backup into a file; "-" is standard output, and an empty name lets the node
// propose one.
func (c *cli) fetchBackup(ctx context.Context, name string) error {
	res, err := c.client().send(ctx, http.MethodGet, "/v1/backup", nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // only read
	if name == "-" {
		v, err := store.VerifyBackup(io.TeeReader(res.Body, c.out))
		if err != nil {
			return fmt.Errorf("back up: %w", err)
		}
		return c.tellBackup(v)
	}
	return c.keepBackup(or(name, proposedName(res)), res.Body)
}

// dataDir returns the data directory of the node; empty: it is unknown, or on another machine.
func (c *cli) dataDir(cmd *cobra.Command) string {
	cfg, err := daemon.Load(c.source(cmd))
	if err != nil || c.remote() {
		return ""
	}
	return cfg.Data
}

// proposedName returns the name that the node gives the archive.
func proposedName(res *http.Response) string {
	_, params, err := mime.ParseMediaType(res.Header.Get("Content-Disposition"))
	name := filepath.Base(params["filename"])
	if err != nil || name == "." || name == "/" {
		return "picloud.tar.gz"
	}
	return name
}

func (c *cli) keepBackup(name string, r io.Reader) error {
	var v store.Verified
	err := writePrivate(name, func(f *os.File) error {
		_, err := io.Copy(f, c.progress("received", r, 0))
		if err == nil {
			_, err = f.Seek(0, io.SeekStart)
		}
		if err == nil {
			v, err = store.VerifyBackup(f)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	state := "whole and read back"
	if len(v.Damaged) > 0 {
		state = "read back; some of the node is damaged"
	}
	c.printf("%s: %s, %s\n", name, mib(info.Size()), state)
	return c.tellBackup(v)
}

// maxTold bounds the lines about damage.
const maxTold = 20

// tellBackup describes a backup: its damage, and whether it opens its secrets. It returns
// an error when something was damaged on the node.
func (c *cli) tellBackup(v store.Verified) error {
	if v.OpensSecrets {
		fmt.Fprintln(c.err, "The backup holds the key of the secrets in it: keep it where only operators read. With secrets.key_file the key stays out of it.")
	}
	c.tellEach("DAMAGED", v.Damaged)
	if n := len(v.Damaged); n > 0 {
		return fmt.Errorf("%d things are damaged on the node and not good in the backup, which has everything else; keep an older backup for them", n)
	}
	return nil
}

// tellEach writes a line about each thing to where faults are told, a bounded number.
func (c *cli) tellEach(word string, things []string) {
	for i, what := range things {
		if i == maxTold {
			fmt.Fprintf(c.err, "… and %d more\n", len(things)-i)
			return
		}
		fmt.Fprintf(c.err, "%s: %s\n", word, what)
	}
}

func (c *cli) restoreCommand() *cobra.Command {
	var fromPostgres bool
	var name string
	cmd := &cobra.Command{
		Use: "restore [FILE]", Short: "Bring a node back from a backup, or from Postgres", Args: atMostOne,
		Long: "Unpacks a backup into an empty data directory, or fills it from the copy in Postgres; the node must\nnot run. It keeps its identity, apps, keys and history, and begins a new epoch. It is restored whole or not\nat all; when it was cut off, run it again.\n\nFrom Postgres it asks for the recovery key of the node ('picloud recovery-key'), or takes it from\nPICLOUD_RECOVERY_KEY; the old card is fenced off.",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := daemon.Load(c.source(cmd))
			if err != nil {
				return err
			}
			if fromPostgres == (len(args) == 1) {
				return fmt.Errorf("%w: name a backup, or use --from-postgres", errUsage)
			}
			if fromPostgres {
				return c.restoreFromPostgres(cmd.Context(), cfg, name)
			}
			archive, size := c.in, int64(0)
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("restore: %w", err)
				}
				defer func() { _ = f.Close() }() // only read
				if info, err := f.Stat(); err == nil {
					size = info.Size()
				}
				archive = f
			}
			var damaged []string
			n, err := store.Restore(cfg.StoreConfig(), store.Archived{
				From:    c.progress("read", archive, size),
				Damaged: func(what string) { damaged = append(damaged, what) },
			})
			if err != nil {
				return err
			}
			c.tellEach("NOT RESTORED", damaged)
			c.printf("Restored node %s into %s. Start it with 'picloud serve --data %s'.\n", n.ID, cfg.Data, cfg.Data)
			return nil
		},
	}
	cmd.Flags().BoolVar(&fromPostgres, "from-postgres", false, "restore from the database that is configured")
	cmd.Flags().StringVar(&name, "node", "", "name or id of the node to restore (default: the only one there is)")
	return cmd
}

// progress shows on a terminal how far reading has come: as a bar when the size
// is known.
func (c *cli) progress(what string, r io.Reader, size int64) io.Reader {
	if !c.onTerminal() {
		return r
	}
	return &meter{r: r, w: c.err, what: what, size: size}
}

type meter struct {
	r    io.Reader
	w    io.Writer
	what string
	size int64 // 0: unknown
	n    int64
	told int64

	ended bool
}

// Read reads and tells every MiB; of less there is nothing to tell.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	end := err != nil || m.n == m.size
	if m.n-m.told >= 1<<20 || (end && m.told > 0 && m.n > m.told) {
		m.told = m.n
		m.tell()
	}
	if end && m.told > 0 && !m.ended {
		m.ended = true
		fmt.Fprintln(m.w)
	}
	return n, err
}

func (m *meter) tell() {
	if m.size <= 0 {
		fmt.Fprintf(m.w, "\r%s %s ", m.what, mib(m.n))
		return
	}
	const width = 30
	done := int(min(m.n, m.size) * width / m.size)
	fmt.Fprintf(m.w, "\r%s [%s%s] %3d %% of %s ", m.what, strings.Repeat("#", done), strings.Repeat(".", width-done), min(m.n, m.size)*100/m.size, mib(m.size))
}
