package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// HW-4, HW-5, PB-9: sensors of a simulated board publish, marked, to topics of their own
// apps, as telemetry, and scripts of their apps read them; an app that comes later gets its readings from then on. On a board
// without sensors the node runs, tells the fault once, and says what to do.
func TestSensorsPublish(t *testing.T) {
	t.Parallel()
	n := newNode(t, "PICLOUD_HW_DRIVER=sim")
	file := filepath.Join(n.home, "picloud.toml")
	const sensors = `
[hw.sensors.room]
driver = "bme280"
every = "100ms"
[hw.sensors.attic]
driver = "ds18b20"
every = "1s"
app = "attic"
topic = "temperature"
`
	if err := os.WriteFile(file, []byte(sensors), 0o600); err != nil {
		t.Fatal(err)
	}
	n.args = append(n.args, "--config", file)
	n.start()
	key := n.key("", "instance:admin")
	until(t, "the room is measured", func() bool { return len(n.history(key, "default", "sensors/room")) > 3 })
	for _, e := range n.history(key, "default", "sensors/room") {
		if e.Source != "device:room" || !strings.Contains(string(e.Data), `"celsius":`) || !strings.HasSuffix(string(e.Data), `"simulated":true}`) {
			t.Errorf("%+v: %s", e, e.Data)
		}
	}
	if out := n.cli("topics", "show", "sensors/room"); !strings.Contains(out, "telemetry") || strings.Contains(out, "external") {
		t.Errorf("the topic: %s", out)
	}
	if out := n.cli("hw", "sensors"); !strings.Contains(out, "(simulated)") || !strings.Contains(out, "i2c-1 0x76") {
		t.Errorf("the sensors:\n%s", out)
	}
	if metrics := string(n.do(200, nil, "GET", "/metrics", key, "").body); !strings.Contains(metrics, `picloud_sensor_value{sensor="room",unit="celsius",simulated="true"} `) {
		t.Error("the metrics lack the sensor")
	}
	const source = `
import { hw } from "picloud";
export default async () => [await hw.sensor("room"), (await hw.sensors()).map((s) => s.name)];
export const other = () => hw.sensor("attic");
`
	if _, errs, code := n.run(source, "scripts", "push", "--name", "room", "-"); code != 0 {
		t.Fatal(errs)
	}
	if out := n.cli("scripts", "run", "room"); !strings.Contains(out, `"simulated":true,"values":{"celsius":`) || !strings.HasSuffix(strings.TrimSpace(out), `["room"]]`) {
		t.Errorf("a script reads %s", out)
	}
	if out, errs, code := n.run("", "scripts", "run", "room", "--export", "other"); code == 0 || !strings.Contains(out+errs, "NotFoundError: There is no such sensor") {
		t.Errorf("a sensor of another app: %d %s%s", code, out, errs)
	}
	n.cli("apps", "create", "attic")
	until(t, "the attic is measured", func() bool { return len(n.history(key, "attic", "temperature")) > 0 })
	if log := n.process().log.String(); strings.Count(log, "reading was not published") != 1 || !strings.Contains(log, "readings are published again") {
		t.Errorf("the log of an app that comes later:\n%s", log)
	}

	n.stop()
	n.env = append(n.env, "PICLOUD_HW_DRIVER=kernel")
	if err := os.WriteFile(file, []byte("[hw.sensors.room]\ndriver = \"bme280\"\nbus = 199\nevery = \"100ms\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	until(t, "the fault is told", func() bool {
		all := n.history(key, "default", "sensors/room")
		return strings.Contains(string(all[len(all)-1].Data), `{"error":"there is no bus /dev/i2c-199: on a Raspberry Pi put dtparam=i2c_arm=on`)
	})
	if out := n.cli("hw", "sensors"); !strings.Contains(out, "there is no bus /dev/i2c-199") {
		t.Errorf("the sensors:\n%s", out)
	}
	if metrics := string(n.do(200, nil, "GET", "/metrics", key, "").body); !strings.Contains(metrics, `picloud_sensor_faulty{sensor="room",simulated="false"} 1`) || strings.Contains(metrics, "picloud_sensor_value") {
		t.Error("the metrics lack the fault, or have a value")
	}
	if out, _, code := n.run("", "doctor"); code == 0 || !strings.Contains(out, "room cannot be read since") {
		t.Errorf("doctor says nothing of the fault:\n%s", out)
	}
	if _, _, code := n.run("", "hw", "scan"); code != 0 {
		t.Errorf("a search of a board without buses ends with %d", code)
	}
}
