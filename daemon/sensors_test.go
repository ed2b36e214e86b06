package daemon_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/hw/sensor"
)

// HW-4: sensors are tables; what is not said follows from the driver.
func TestSensorsAreRead(t *testing.T) {
	t.Parallel()
	file := write(t, map[string]string{"picloud.toml": `
[hw.sensors.room]
driver = "bme280"
bus = 3
address = 0x77
every = "1m"
min_change = { celsius = 0.2, percent = 1 }
at_least = "10m"
app = "porch"
topic = "climate"
durability = "sync"
[hw.sensors]
tank = { driver = "ads1115", channel = "0-1", max_volt = 2.048, min_change = 0.01 }
meter = { driver = "file", path = "/run/meter", outside_sys = true, pattern = 'now=(\d+)', unit = "watt", scale = 0.5, offset = -1_0.5 }
`})
	c, err := daemon.Load(daemon.Source{File: file})
	if err != nil || len(c.Sensors) != 3 {
		t.Fatalf("%+v, %v", c.Sensors, err)
	}
	room := sensor.Defaults("room")
	room.Driver, room.Bus, room.Address, room.Every, room.AtLeast = "bme280", 3, 0x77, time.Minute, 10*time.Minute
	room.MinChange, room.App, room.Topic, room.Durability = sensor.Changes{"celsius": 0.2, "percent": 1}, "porch", "climate", picloud.DurabilitySync
	if !reflect.DeepEqual(c.Sensors[0], room) {
		t.Errorf("%+v\nwant %+v", c.Sensors[0], room)
	}
	tank := sensor.Defaults("tank")
	tank.Driver, tank.Address, tank.Channel, tank.MaxVolt, tank.MinChange = "ads1115", 0x48, "0-1", 2.048, sensor.Changes{sensor.AnyUnit: 0.01}
	if !reflect.DeepEqual(c.Sensors[1], tank) || tank.Topic != "sensors/tank" || tank.Durability != picloud.DurabilityTelemetry {
		t.Errorf("%+v\nwant %+v", c.Sensors[1], tank)
	}
	if meter := c.Sensors[2]; meter.Scale != 0.5 || meter.Offset != -10.5 || meter.Unit != "watt" {
		t.Errorf("%+v", meter)
	}
	for _, line := range []string{
		"hw.sensors.room.address            0x77", "hw.sensors.room.min_change         celsius = 0.2, percent = 1",
		"hw.sensors.tank.min_change         0.01", "hw.sensors.room.every              1m0s",
	} {
		if !strings.Contains(c.Show(), line+"\n") {
			t.Errorf("%q is not shown:\n%s", line, c.Show())
		}
	}
	if strings.Contains(c.Show(), "hw.sensors.tank.path") {
		t.Error("settings of other drivers are shown")
	}
	if live, restart := daemon.Changed(daemon.DefaultConfig(), c); len(live) != 0 || !slices.Equal(restart, []string{"hw.sensors"}) {
		t.Errorf("changed: %v, %v", live, restart)
	}
	again, err := daemon.Load(daemon.Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	if live, restart := daemon.Changed(again, c); len(live)+len(restart) != 0 {
		t.Errorf("the same file differs: %v, %v", live, restart)
	}
}

// HW-4: what does not fit is told with its file and its line, also what only two lines
// together make a fault.
func TestSensorsThatDoNotFit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[hw.sensors.x]\ndriver = 'bme280'\naddress = 0x80":                                        ":3: hw.sensors.x.address: \"0x80\": use an address from 0x08 to 0x77",
		"[hw.sensors.x]\naddress = 0x40\n\ndriver = 'bme280'":                                      ":2: hw.sensors.x.address: 0x40 is no address of this sensor",
		"[hw.sensors.x]\ndriver = 'bme280'\nevery = '0s'":                                          ":3: hw.sensors.x.every: \"0s\": use a time from 100ms to 24h",
		"[hw.sensors.x]\ndriver = 'bme280'\nevery = 0":                                             ":3: hw.sensors.x.every: 0: use a text in quotes, a time from 100ms to 24h",
		"[hw.sensors.x]\ndriver = 'file'\npath = '/etc/shadow'":                                    ":3: hw.sensors.x.path: \"/etc/shadow\" is outside /sys",
		"\n[hw.sensors.x]\nevery = '1s'":                                                           ":2: hw.sensors.x.driver: say which kind of sensor",
		"[hw.sensors.x]\ndriver = 'bme290'":                                                        ":2: hw.sensors.x.driver: unknown driver \"bme290\"; did you mean bme280?",
		"[hw.sensors.x]\ndriver = 'bme280'\npath = '/sys/x'":                                       ":3: hw.sensors.x.path: the driver bme280 has no use for it",
		"[hw.sensors.x]\ndriver = 'bme280'\nevry = '1s'":                                           ":3: hw.sensors.x.evry: unknown setting of a sensor; did you mean every?",
		"[hw.sensors.'Front Room']\ndriver = 'bme280'":                                             "cannot be the name of a sensor",
		"[hw.sensors.x]\ndriver = 'bme280'\nmin_change = 0":                                        ":3: hw.sensors.x.min_change: \"0\": use a number above 0",
		"[hw.sensors.x]\ndriver = 'bme280'\nmin_change = { lux = 1 }":                              ":3: hw.sensors.x.min_change: the sensor has no value \"lux\"",
		"[hw.sensors.x]\ndriver = 'bme280'\ntopic = '$board/health'":                               ":3: hw.sensors.x.topic: ",
		"[hw.sensors.x]\ndriver = 'bme280'\n[hw.sensors.y]\ndriver = 'bmp280'":                     ":4: hw.sensors.y.driver: as hw.sensors.x: both are the device at i2c-1 0x76",
		"[hw.sensors.x]\ndriver = 'bme280'\n[hw.sensors.y]\ndriver = 'aht20'\ntopic = 'sensors/x'": ":5: hw.sensors.y.topic: it is also that of hw.sensors.x",
		"[hw.inputs.x]\nline = 'GPIO4'\n[hw.sensors.x]\ndriver = 'bme280'":                         ":4: hw.sensors.x.driver: the input hw.inputs.x of the same app has that name",
		"[hw.sensors.x]\ndriver = 'bme280'\ndurability = 'central'":                                ":3: hw.sensors.x.durability: \"central\": use telemetry or sync",
		"[hw.sensors.x]\ndriver = 'file'\npath = '/sys/x'\nunit = 'error'":                         ":4: hw.sensors.x.unit: ",
		"[hw.sensors.x]\ndriver = 'file'\npath = '/sys/x'\nscale = 'much'":                         ":4: hw.sensors.x.scale: \"much\": use a number",
	} {
		if _, err := daemon.Load(daemon.Source{File: write(t, map[string]string{"picloud.toml": text})}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}
