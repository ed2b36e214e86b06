package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Scripts set and read the pins of their app, on a simulated board; another app's are
// not there for them. A board without chips stops nothing, and the script hears what
// to do. (SC-4, HW-5)
func TestPinsInScripts(t *testing.T) {
	t.Parallel()
	n := newNode(t, "PICLOUD_HW_DRIVER=sim")
	file := filepath.Join(n.home, "picloud.toml")
	if err := os.WriteFile(file, []byte("[hw.outputs.lamp]\nline = \"GPIO22\"\n[hw.inputs.light]\nline = \"GPIO22\"\n[hw.outputs.heater]\nline = \"GPIO5\"\napp = \"attic\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.args = append(n.args, "--config", file)
	n.start()
	const source = `
import { hw, kv } from "picloud";
export default async function (event) {
	await hw.set("lamp", event.data.on);
	await kv.set("light", await hw.read("light"));
}
export const heat = () => hw.set("heater", true);
export const pins = () => hw.pins();
`
	if _, errs, code := n.run(source, "scripts", "push", "--name", "lamp", "-"); code != 0 {
		t.Fatal(errs)
	}
	n.cli("triggers", "set", "lamp", "--kind", "pubsub", "--topic", "lamp", "--script", "lamp")
	for _, on := range []string{"true", "false", "true"} {
		n.cli("publish", "lamp", `{"on":`+on+`}`)
		until(t, "the light is "+on, func() bool {
			out, _, _ := n.run("", "kv", "get", "light")
			return out == on+"\n"
		})
	}
	fails := func(want string) {
		t.Helper()
		if out, errs, code := n.run("", "scripts", "run", "lamp", "--export", "heat"); code == 0 || !strings.Contains(out+errs, want) {
			t.Errorf("code %d, %s%s", code, out, errs)
		}
	}
	fails(`NotFoundError: There is no such pin: the node's configuration has no pin "heater" for the app default`)
	if out := n.cli("scripts", "run", "lamp", "--export", "pins"); !strings.Contains(out, `"simulated":true`) || strings.Contains(out, "heater") {
		t.Errorf("pins: %s", out)
	}

	n.stop()
	n.env = append(n.env, "PICLOUD_HW_DRIVER=kernel")
	if err := os.WriteFile(file, []byte("[hw.outputs.heater]\nline = \"GPIO5-that-no-machine-has\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	fails("UnavailableError: The pin cannot be used: ")
	if log := n.process().log.String(); !strings.Contains(log, "pin cannot be used; it is tried again") {
		t.Errorf("nothing is said of the pin:\n%s", log)
	}
}
