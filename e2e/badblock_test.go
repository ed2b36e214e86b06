package e2e

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The disk refuses a write and the node ends. The kernel now has pages that look
// written and are not: the node that is started again on the same machine must
// not tell anybody what only the kernel remembers. (PB-1)
func TestRecoveryBelievesTheDisk(t *testing.T) {
	d := newDisks(t, 32<<20)
	n := newNode(t, smallStore...)
	n.data = filepath.Join(d.dir, "mnt", "data")
	defer n.kill()
	n.start()
	key := n.key("", "instance:admin")
	publish := func(n *node, data string) (answer, error) {
		return n.request("POST", "/v1/apps/default/topics/a/events", key, data)
	}
	if a, err := publish(n, `"kept"`); err != nil || a.status != 201 {
		t.Fatal(a.status, err)
	}
	d.live.refuse([]byte("remembered by the kernel alone"))
	large := strings.Repeat("x", 12<<10) // more pages than the next event writes again
	if a, err := publish(n, `"remembered by the kernel alone `+large+`"`); err == nil && a.status == 201 {
		t.Fatal("an event was acknowledged that the disk has refused")
	}
	select {
	case <-n.process().exited:
	case <-time.After(20 * time.Second):
		t.Fatal("the node goes on although its disk has refused a write")
	}
	d.live.refuse(nil)
	n.start()
	if a, err := publish(n, `"after"`); err != nil || a.status != 201 {
		t.Fatal(a.status, err)
	}
	told := n.history(key, "default", "a")

	d.second.set(d.live.image(rand.New(rand.NewPCG(1, 1)), 0)) // only what was flushed
	defer d.mount("second", "mnt2")()
	m := newNode(t, smallStore...)
	m.data = filepath.Join(d.dir, "mnt2", "data")
	defer m.kill()
	proc := m.start()
	there := m.history(key, "default", "a")
	text := func(events []event) string {
		var b strings.Builder
		for _, e := range events {
			b.WriteString(e.ID + " " + string(e.Data[:min(40, len(e.Data))]) + "\n")
		}
		return b.String()
	}
	if text(there) != text(told) {
		t.Errorf("told was\n%son the disk is\n%s%s", text(told), text(there), proc.log)
	}
}
