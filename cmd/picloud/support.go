package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/daemon"
)

// Bounds of what is gathered.
const (
	supportPatience = 2 * time.Minute  // for all of it
	partPatience    = 15 * time.Second // for one part
	maxPart         = 4 << 20          // bytes of one part, of a log the last ones
	logLines        = "2000"
)

func (c *cli) supportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "support [FILE]", Short: "Write an archive for a report of a fault, without secrets", Args: atMostOne,
		Long: "Gathers what helps to find a fault into one archive: versions, configuration, doctor, state and metrics of the\n" +
			"node, incidents, and the last lines of its log. It has no keys, tokens, passwords and secrets, and no data of apps,\n" +
			"but names of apps, topics and sensors: look at it before you send it. It is written also when the node does not run.\n" +
			"As root, or as a member of the node's group, it has more.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), supportPatience)
			defer cancel()
			cmd.SetContext(ctx)
			host, _ := os.Hostname() // without one the time has to do
			base := "picloud-support-" + fileNamePart(host) + "-" + time.Now().UTC().Format(fileTime)
			name := base + ".tar.gz"
			if len(args) > 0 {
				name = args[0]
			}
			parts, lacking := c.gather(cmd)
			err := writePrivate(name, func(f *os.File) error { return writeParts(f, base, parts) })
			if err != nil {
				return fmt.Errorf("write the archive: %w", err)
			}
			for _, l := range lacking {
				fmt.Fprintln(c.err, "It lacks", plain(l))
			}
			c.printf("%s: %d parts. Look at it before you send it: it has no secrets, but names of apps, topics and sensors.\n", name, len(parts))
			return nil
		},
	}
}

// part is a file of the archive.
type part struct {
	name string
	text string
}

// nodeParts are what the node says of itself.
var nodeParts = []struct{ name, path string }{
	{"node.json", "/v1/node"},
	{"board.json", "/v1/node/board"},
	{"header.json", "/v1/node/board/header"},
	{"sensors.json", "/v1/node/board/sensors"},
	{"sync.json", "/v1/sync"},
	{"incidents.json", "/v1/incidents"},
	{"verify.json", "/v1/verify"},
	{"metrics.txt", "/metrics"},
}

// gather returns the parts of the archive, without secrets, and why others are not there. Of a node on
// another machine it has only what the node says.
func (c *cli) gather(cmd *cobra.Command) (parts []part, lacking []string) {
	cfg, fault := daemon.Load(c.source(cmd)) // as far as it can be read
	secrets := append(cfg.Secrets(), c.key)
	for _, variable := range []string{"PICLOUD_KEY", "PICLOUD_RECOVERY_KEY", "PGPASSWORD", "PGSSLPASSWORD"} {
		secrets = append(secrets, os.Getenv(variable))
	}
	hide := newRedactor(secrets...)
	add := func(name, text string, err error) {
		if err != nil {
			text += fmt.Sprintf("\nnot known: %v\n", err)
			lacking = append(lacking, hide.redact(fmt.Sprintf("%s: %v", name, err)))
		}
		parts = append(parts, part{name, hide.redact(text)})
	}
	versions, err := json.MarshalIndent(versionNumbers(), "", "  ")
	add("version.json", string(versions), err)
	findings, err := json.MarshalIndent(c.examine(cmd), "", "  ")
	add("doctor.json", string(findings), err)
	for _, p := range nodeParts {
		text, err := c.fetchText(cmd.Context(), p.path)
		add(p.name, text, err)
	}
	if c.remote() {
		return parts, lacking
	}
	config := ""
	if fault == nil {
		config = cfg.Show()
	}
	add("config.txt", config, fault)
	text, err := logOf(cmd.Context())
	add("log.txt", text, err)
	add("system.txt", systemText(), nil)
	text, err = listing(cfg.Data)
	add("data.txt", text, err)
	return parts, lacking
}

// fetchText returns what the node answers, JSON indented.
func (c *cli) fetchText(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, partPatience)
	defer cancel()
	res, err := c.client().send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(res.Body, maxPart))
	var pretty bytes.Buffer
	if json.Indent(&pretty, b, "", "  ") == nil {
		b = pretty.Bytes()
	}
	return string(b), err
}

// errNoJournal says where else the log may be.
var errNoJournal = errors.New("there is no journalctl here: add what the node wrote to its standard error")

// logOf returns the last lines that the node has logged to the journal of systemd.
func logOf(ctx context.Context) (string, error) {
	program, err := exec.LookPath("journalctl")
	if err != nil {
		return "", errNoJournal
	}
	ctx, cancel := context.WithTimeout(ctx, partPatience)
	defer cancel()
	var errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "--no-pager", "--quiet", "--output", "short-iso-precise", "--lines", logLines, "--unit", "picloud") // #nosec G204 -- fixed words
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("journalctl: %w %s", err, strings.TrimSpace(errOut.String()))
	}
	return string(out[max(0, len(out)-maxPart):]), err
}

// systemText describes the machine.
func systemText() string {
	var b strings.Builder
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		fmt.Fprintf(&b, "%s %s %s %s\n\n", unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:]), unix.ByteSliceToString(u.Machine[:]))
	}
	for _, file := range []string{"/etc/os-release", "/proc/uptime", "/proc/loadavg", "/proc/meminfo", "/proc/mounts"} {
		text, err := os.ReadFile(file) // #nosec G304 -- one of those above
		if err != nil {
			text = []byte("not known: " + err.Error() + "\n")
		}
		fmt.Fprintf(&b, "%s\n%s\n", file, text)
	}
	return b.String()
}

// maxListed bounds the files of a listing.
const maxListed = 2000

// listing lists the files of the data directory, but those of apps: contents of files, and the
// spool.
func listing(dir string) (string, error) {
	var b strings.Builder
	n := 0
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		at, _ := filepath.Rel(dir, name) // name is below it
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", at, err)
			if at == "." {
				return err
			}
			return nil
		}
		if d.IsDir() && (at == "files" || at == "spool") {
			return filepath.SkipDir
		}
		if n++; n > maxListed {
			fmt.Fprintln(&b, "… and more")
			return filepath.SkipAll
		}
		if info, err := d.Info(); err == nil { // it may be gone meanwhile
			fmt.Fprintf(&b, "%s %12d %s %s\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), at)
		}
		return nil
	})
	return b.String(), err
}

// writeParts writes the parts into a folder of an archive.
func writeParts(w io.Writer, folder string, parts []part) error {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	for _, p := range parts {
		head := &tar.Header{Name: folder + "/" + p.name, Mode: 0o600, Size: int64(len(p.text)), ModTime: time.Now().Truncate(time.Second)}
		if err := t.WriteHeader(head); err != nil {
			return err
		}
		if _, err := io.WriteString(t, p.text); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}
