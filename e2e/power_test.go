package e2e

import (
	"strings"
	"testing"
)

// Heat begins as one event, ends as one, over a restart that ends it, too, and makes a
// script run. (HW-5, HW-6)
func TestHeatTriggersAScript(t *testing.T) {
	t.Parallel()
	n := newNode(t, "PICLOUD_HW_DRIVER=sim", "PICLOUD_HW_WARM_CELSIUS=30")
	n.start()
	until(t, "the heat to begin", func() bool { return strings.Contains(n.cli("events", "$board/power"), `"state":"begins"`) })
	const source = `
import { kv } from "picloud";
export default (event) => kv.set("alarm", event.data.condition + " " + event.data.state + " " + event.data.simulated);
`
	if _, errs, code := n.run(source, "scripts", "push", "--name", "alarm", "-"); code != 0 {
		t.Fatal(errs)
	}
	n.cli("triggers", "set", "alarm", "--kind", "pubsub", "--topic", "$board/power", "--script", "alarm")
	n.stop()
	n.env = append(n.env, "PICLOUD_HW_WARM_CELSIUS=100")
	n.start()
	until(t, "the script to hear of its end", func() bool {
		out, _, _ := n.run("", "kv", "get", "alarm")
		return out == "\"heat ends true\"\n"
	})
	if events := n.cli("events", "$board/power"); strings.Count(events, "\n") != 2 {
		t.Errorf("events: %s", events)
	}
	if log := n.process().log.String(); strings.Contains(log, "condition of the board began") {
		t.Errorf("the log:\n%s", log)
	}
}
