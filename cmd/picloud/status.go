package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/httpapi"
)

func (c *cli) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the node is doing", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var n httpapi.Node
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/node", nil, &n); err != nil {
				return err
			}
			if c.json {
				return c.print(n)
			}
			c.printf("node         %s (%s)\nversion      %s (%s)\nstatus       %s\nup           %v\nsubscribers  %d\njournal      %s in %d segments, %d records\npublished    %d events in %d commits since the start\n",
				n.Name, n.ID, n.Version, n.Commit, n.Status, time.Duration(n.UptimeSec)*time.Second, n.Subscribers,
				mib(n.Storage.JournalBytes), n.Storage.Segments, n.Storage.LastLSN, n.Storage.Events, n.Storage.Commits)
			for _, note := range n.Notes {
				c.printf("note         %s\n", note)
			}
			return nil
		},
	}
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// finding is the outcome of one check.
type finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Says  string `json:"says"`
	Fix   string `json:"fix,omitempty"`
}

func (c *cli) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong and say how to mend it", Args: exactly(0),
		Long: "Checks the configuration, the data directory, the clock and the running node, and says what to do\nabout each fault. Ends with 1 when there is one.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := c.examine(cmd)
			bad := 0
			for _, f := range findings {
				if !f.OK {
					bad++
				}
			}
			if c.json {
				if err := c.print(findings); err != nil {
					return err
				}
			} else {
				for _, f := range findings {
					mark := "ok "
					if !f.OK {
						mark = "BAD"
					}
					c.printf("%s  %-14s %s\n", mark, f.Check, f.Says)
					if f.Fix != "" {
						c.printf("     %-14s %s\n", "", f.Fix)
					}
				}
			}
			if bad > 0 {
				return fmt.Errorf("%d of %d checks found a fault", bad, len(findings))
			}
			return nil
		},
	}
}

func (c *cli) examine(cmd *cobra.Command) []finding {
	cfg, err := daemon.Load(c.source(cmd))
	if err != nil {
		return []finding{{"configuration", false, strings.ReplaceAll(err.Error(), "\n", "; "), "Correct it and run 'picloud config check'."}}
	}
	findings := []finding{{"configuration", true, "sound", ""}}
	return append(findings, dataFinding(cfg.Data), spaceFinding(cfg.Data, cfg.ReserveBytes), clockFinding(), filesFinding(), c.nodeFinding(cmd))
}

func dataFinding(dir string) finding {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return finding{"data", false, err.Error(), "Start the node once, or name its directory with --data."}
	case !info.IsDir():
		return finding{"data", false, dir + " is not a directory", "Name another with --data."}
	case unix.Access(dir, unix.W_OK) != nil:
		return finding{"data", false, dir + " cannot be written by this user", "Run this as root or as the node's user; a read-only disk is remounted with 'mount -o remount,rw'."}
	case info.Mode().Perm()&0o007 != 0:
		return finding{"data", false, fmt.Sprintf("%s is open to everybody (%v)", dir, info.Mode().Perm()), "Close it: chmod o-rwx " + dir}
	}
	return finding{"data", true, dir, ""}
}

func spaceFinding(dir string, reserve int64) finding {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return finding{"space", false, err.Error(), "Name the node's directory with --data."}
	}
	free := int64(st.Bavail) * int64(st.Bsize) //nolint:unconvert // its type differs between boards
	if free < reserve {
		return finding{"space", false, mib(free) + " free, below the reserve of " + mib(reserve), "Free space, or lower storage.reserve_bytes; until then publishing is refused."}
	}
	return finding{"space", true, mib(free) + " free", ""}
}

func clockFinding() finding {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	switch {
	case err != nil:
		return finding{"clock", true, "unknown: " + err.Error(), ""}
	case state == 5: // TIME_ERROR: not synchronised
		return finding{"clock", false, "not synchronised: " + time.Now().Format(time.RFC3339), "Let the board reach a time server: 'timedatectl' says more."}
	}
	return finding{"clock", true, "synchronised", ""}
}

func filesFinding() finding {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return finding{"files", true, "unknown: " + err.Error(), ""}
	}
	if limit.Cur < 1024 {
		return finding{"files", false, fmt.Sprintf("only %d open files are allowed", limit.Cur), "Raise it with 'ulimit -n' or LimitNOFILE= in the unit."}
	}
	return finding{"files", true, fmt.Sprintf("%d may be open in this shell", limit.Cur), ""}
}

func (c *cli) nodeFinding(cmd *cobra.Command) finding {
	var n httpapi.Node
	if err := c.call(cmd.Context(), http.MethodGet, "/v1/node", nil, &n); err != nil {
		return finding{"node", false, err.Error(), "Start it with 'systemctl start picloud' or 'picloud serve'; 'journalctl -u picloud' has its log."}
	}
	switch {
	case n.Version != version:
		return finding{"node", false, fmt.Sprintf("runs version %s, this is %s", n.Version, version), "Restart the node."}
	case n.Status != "ok":
		return finding{"node", false, strings.Join(n.Notes, " "), "After mending it, restart the node."}
	}
	return finding{"node", true, fmt.Sprintf("%s runs, %d subscribers", n.Name, n.Subscribers), ""}
}
