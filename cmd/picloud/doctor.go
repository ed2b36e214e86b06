package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/board"
	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/dispatch"
)

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

// examine checks this machine and the node on it, or only the node where that
// is on another one.
func (c *cli) examine(cmd *cobra.Command) []finding {
	if c.remote() {
		return c.nodeFindings(cmd)
	}
	cfg, err := daemon.Load(c.source(cmd))
	if err != nil {
		bad := finding{"configuration", false, strings.ReplaceAll(err.Error(), "\n", "; "), "Correct it and run 'picloud config check'."}
		return append([]finding{bad}, c.nodeFindings(cmd)...) // one that runs has a sound one
	}
	findings := []finding{{"configuration", true, "sound", ""}}
	node := c.nodeFindings(cmd)
	findings = append(findings, dataFinding(cfg.Data), spaceFinding(cfg.Data, cfg.ReserveBytes), clockFinding(), filesFinding())
	findings = append(findings, node...)
	if len(node) == 1 { // it does not answer
		findings = append(findings, portFinding(cfg.Listen))
		if f, ok := tlsFinding(&cfg); ok {
			findings = append(findings, f)
		}
	}
	machine, _ := os.Hostname() // without one the address has to do
	return append(findings, nameFinding(&cfg, machine, avahiSocket, avahiService))
}

func dataFinding(dir string) finding {
	info, err := os.Stat(dir)
	var owner uint32
	if err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			owner = st.Uid
		}
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return finding{"data", true, dir + " is closed to this user; root sees more", ""}
	case err != nil:
		return finding{"data", false, err.Error(), "Start the node once, or name its directory with --data."}
	case !info.IsDir():
		return finding{"data", false, dir + " is not a directory", "Name another with --data."}
	case errors.Is(unix.Access(dir, unix.W_OK), unix.EROFS):
		return finding{"data", false, dir + " is on a read-only disk", "Remount it with 'mount -o remount,rw'; 'dmesg' may say why it is read-only."}
	case os.Geteuid() != 0 && int64(owner) != int64(os.Geteuid()):
		return finding{"data", true, fmt.Sprintf("%s belongs to user %d; root sees more", dir, owner), ""}
	case unix.Access(dir, unix.W_OK) != nil:
		return finding{"data", false, dir + " cannot be written by its owner", "Open it to its owner: chmod u+rwx " + dir}
	case info.Mode().Perm()&0o007 != 0:
		return finding{"data", false, fmt.Sprintf("%s is open to everybody (%v)", dir, info.Mode().Perm()), "Close it: chmod o-rwx " + dir}
	}
	return finding{"data", true, dir, ""}
}

func spaceFinding(dir string, reserve int64) finding {
	var st unix.Statfs_t
	switch err := unix.Statfs(dir, &st); {
	case errors.Is(err, fs.ErrNotExist):
		return finding{"space", true, "unknown: there is no " + dir + " yet", ""}
	case errors.Is(err, fs.ErrPermission):
		return finding{"space", true, "unknown: " + dir + " is closed to this user", ""}
	case err != nil:
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
		return finding{"clock", false, "not synchronised: " + time.Now().Format(time.RFC3339), "Let the board reach a time server ('timedatectl' says more). Without a battery for its clock it lets schedules of the calendar wait until then, unless the configuration says clock = \"trusted\"."}
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

// sentence makes a text one.
func sentence(text string) string {
	first, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[n:] + "."
}

// nodeFindings are what the running node says of itself: one, or two where it
// has a copy in Postgres.
func (c *cli) nodeFindings(cmd *cobra.Command) []finding {
	var n api.Node
	if err := c.call(cmd.Context(), http.MethodGet, "/v1/node", nil, &n); err != nil {
		says := err.Error()
		if errors.Is(err, errUnreachable) { // what else it says sends to doctor
			says = errUnreachable.Error() + " at " + c.client().name
		}
		return []finding{{"node", false, says, nodeFix(err)}}
	}
	findings := []finding{nodeFinding(&n), appsFinding(&n.Apps)}
	if n.TLS != nil {
		findings = append(findings, certificateFinding(n.TLS))
	}
	var r board.Report
	if err := c.call(cmd.Context(), http.MethodGet, "/v1/node/board", nil, &r); err == nil { // a node of an earlier version has none
		findings = append(findings, boardFinding(&r))
	}
	findings = append(findings, c.sensorFindings(cmd)...)
	st, err := c.syncStatus(cmd.Context())
	if err != nil || !st.Configured {
		return findings // what is wrong has been said, or there is nothing to say
	}
	if st.State == string(dispatch.StateWaiting) {
		fix := "Nothing: they follow by themselves once it can be reached."
		if st.Advice != "" {
			fix = sentence(plain(st.Advice)) + " The rest follows by itself; 'picloud sync retry' tries at once."
		}
		return append(findings, finding{"postgres", false, fmt.Sprintf("%s; %d records wait on the card", plain(st.Error), st.Waiting), fix})
	}
	if st.SetAside > 0 {
		return append(findings, finding{"postgres", false, "Postgres does not take " + refusedLine(st), refusedFix})
	}
	return append(findings, finding{"postgres", true, syncLine(st), ""})
}

func nodeFinding(n *api.Node) finding {
	switch {
	case n.Version != version:
		return finding{"node", false, fmt.Sprintf("runs version %s, this is %s", n.Version, version), "Restart the node."}
	case n.Status != "ok":
		return finding{"node", false, strings.Join(n.Notes, " "), "'picloud incidents list' says when each was found. Acknowledge those that are dealt with: 'picloud incidents ack'."}
	case n.Storage.WrittenDay > n.Storage.WearBudget:
		return finding{"node", false, fmt.Sprintf("%s were written to the card in the last day, the budget is %s", mib(n.Storage.WrittenDay), mib(n.Storage.WearBudget)), "Let chatty topics have durability telemetry, or publish in batches; for a card that bears more raise storage.wear_budget_bytes."}
	}
	return finding{"node", true, fmt.Sprintf("%s runs, %d subscribers", n.Name, n.Subscribers), ""}
}

// appsFinding is what the node says of its apps.
func appsFinding(a *api.Activity) finding {
	switch {
	case a.Paused > 0:
		return finding{"apps", false, fmt.Sprintf("%d triggers pause: %s", a.Paused, plain(a.Error)), "They go on by themselves once that is over; 'picloud triggers list' says which."}
	case a.Behind > 0:
		return finding{"apps", false, fmt.Sprintf("%d triggers are slower than what comes", a.Behind), "'picloud triggers list' says which are behind. Make their scripts faster or let more of them run at once (--concurrency); what the journal has no room for is dropped, oldest first."}
	case a.DeadLetters > 0:
		return finding{"apps", false, fmt.Sprintf("%d dead letters", a.DeadLetters), "'picloud dead-letters list' says why; redrive them when the cause is mended, or purge them."}
	}
	return finding{"apps", true, fmt.Sprintf("%d triggers, %d deliveries wait", a.Triggers, a.Waiting), ""}
}

// boardFinding is what the node says of its board.
func boardFinding(r *board.Report) finding {
	is := func(flag *bool) bool { return flag != nil && *flag }
	var says, fixes []string
	add := func(text string, c board.Condition) {
		says = append(says, text)
		fixes = append(fixes, c.Advice())
	}
	lasts := map[board.Condition]bool{}
	for _, l := range r.Conditions {
		lasts[l.Condition] = true
		add(fmt.Sprintf("%s since %s", l.Condition, l.Since.Local().Format(time.DateTime)), l.Condition)
	}
	if is(r.UndervoltageSeen) && !lasts[board.Undervoltage] {
		add("there was undervoltage since the board was started", board.Undervoltage)
	}
	if is(r.ThrottledSeen) && !lasts[board.Throttled] {
		add("it was throttled since the board was started", board.Throttled)
	}
	if len(says) > 0 {
		return finding{"board", false, strings.Join(says, "; ") + "; the temperature is " + known(r.Celsius, "%.1f °C"), strings.Join(slices.Compact(fixes), " ")}
	}
	return finding{"board", true, boardLine(r), ""}
}

func nodeFix(err error) string {
	if errors.Is(err, errUnreachable) {
		return "Start it with 'systemctl start picloud' or 'picloud serve'; 'journalctl -u picloud' has its log."
	}
	return "" // the error says it
}

// portFinding looks, when no node answers, whether it could have its port.
func portFinding(addr string) finding {
	ln, err := net.Listen("tcp", addr) //nolint:noctx // opening a port does not wait
	if err != nil {
		return finding{"port", false, err.Error(), "Another program may have it ('ss -ltnp' says which); stop that, or set listen to another port."}
	}
	_ = ln.Close() // only tried
	return finding{"port", true, addr + " is free", ""}
}
