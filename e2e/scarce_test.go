package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// DM-4, DM-6: with too few open files allowed the node does not start and says how many
// it needs; it changes nothing, and is itself again with more.
func TestTooFewFilesChangeNothing(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	key := n.cli("recovery-key")
	n.stop()
	before := names(files(t, n.data))
	n.wrap = []string{"sh", "-c", `ulimit -n 20; exec "$@"`, "sh"}
	p := n.launch()
	<-p.exited
	if p.code == 0 || !strings.Contains(p.log.String(), "only 20 files may be open") || !strings.Contains(p.log.String(), "LimitNOFILE") {
		t.Errorf("exit code %d\n%s", p.code, p.log)
	}
	if after := names(files(t, n.data)); before != after {
		t.Errorf("there was\n%s\nand is\n%s", before, after)
	}
	n.wrap = nil
	n.start()
	if again := n.cli("recovery-key"); again != key {
		t.Error("the recovery key is another one")
	}
}

// names joins the names of files.
func names(files map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		b.WriteString(name + "\n")
	}
	return b.String()
}

// DM-6: a machine whose watches are used up has a node that serves, applies apps, and says
// that it looks for changes from time to time.
func TestStartsWithoutInotify(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.wrap = []string{"unshare", "-U", "-r", "sh", "-c", `echo 0 > /proc/sys/user/max_inotify_instances; exec "$@"`, "sh"}
	n.env = append(n.env, "PICLOUD_APPS_DIR="+t.TempDir())
	p := n.start()
	n.stop() // all parts have begun then
	for _, says := range []string{"relying on the rescan", "configuration is not watched", "apps are not watched"} {
		if !strings.Contains(p.log.String(), says) {
			t.Errorf("the log does not say %q\n%s", says, p.log)
		}
	}
}
