package main

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/board"
	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/hw"
	"github.com/picloud/picloud/hw/sensor"
)

// simulated starts a node on a simulated board that is hot from its start, with a door,
// a lamp and a sensor.
func simulated(t *testing.T) daemon.Config {
	t.Helper()
	cfg := newConfig(t)
	room := sensor.Defaults("room")
	room.Driver = "bme280"
	room, _ = room.Complete()
	cfg.Sensors = []sensor.Settings{room}
	cfg.Driver, cfg.WarmCelsius = hw.DriverSim, 30
	cfg.Pins = []hw.PinConfig{
		{App: "default", Name: "door", Line: "GPIO17", Pull: "up", Invert: true},
		{App: "default", Name: "lamp", Line: "GPIO22", Output: true, Start: true},
	}
	t.Cleanup(runNode(t, cfg))
	return cfg
}

// HW-4: a search is printed with what is known alone: no adapter without a name, no count
// of a bus that was not searched, nothing of a simulated board.
func TestScanIsPrinted(t *testing.T) {
	t.Parallel()
	closed, user := "/dev/i2c-20 is closed to this user", "hw.sensors.room"
	got := scanText(api.Scan{
		Buses: []api.ScannedBus{
			{Bus: 0, Adapter: "bcm2835"},
			{Bus: 1, Devices: []api.ScannedDevice{{Address: "0x76", User: &user}}},
			{Bus: 2, Adapter: "bcm2835", Fault: &closed, Devices: []api.ScannedDevice{{Address: "0x50"}, {Address: "0x76", User: &user}}},
			{Bus: 20, Fault: &closed},
		},
		Files: []api.ScannedFile{{Driver: "hwmon", Path: "/sys/class/hwmon/hwmon0/in1_input", Device: "ina2xx", Unit: "volt"}},
	})
	want := `# i2c-0 (bcm2835): 0 addresses in use
# i2c-1: 1 address in use
# 0x76: used by hw.sensors.room
# i2c-2 (bcm2835): 2 addresses in use
# i2c-2: /dev/i2c-20 is closed to this user
# 0x50: answers, but there is no driver for a sensor at this address
# 0x76: used by hw.sensors.room
# i2c-20: /dev/i2c-20 is closed to this user

[hw.sensors.hwmon-1] # ina2xx
driver = "hwmon"
path = "/sys/class/hwmon/hwmon0/in1_input"
every = "10s" # volt
`
	if got != want {
		t.Errorf("printed:\n%s\nwant:\n%s", got, want)
	}
	if got := scanText(api.Scan{Simulated: true, Hints: []string{"simulated"}}); got != "# simulated\n" {
		t.Errorf("a simulated board: %q", got)
	}
}

// HW-1, HW-5, HW-6, OP-1, OP-5: a simulated board says that it is one wherever it is
// shown; heat is one event, in status, in doctor with what to do, and in the metrics.
func TestBoardIsShown(t *testing.T) {
	t.Parallel()
	cfg := simulated(t)
	until(t, "the heat to be told", func() bool {
		return strings.Contains(ok(t, cfg, "events", "$board/power"), `{"condition":"heat","state":"begins","celsius":`)
	})
	health := ok(t, cfg, "hw", "health")
	for _, want := range []string{"Simulated Raspberry Pi", " °C\n", "power        no undervoltage\n", "condition    heat since ", "Cool the board"} {
		if !strings.Contains(health, want) {
			t.Errorf("health lacks %q:\n%s", want, health)
		}
	}
	if out := ok(t, cfg, "hw", "health", "--json"); !strings.Contains(out, `"simulated": true`) || !strings.Contains(out, `"slowed": true`) {
		t.Errorf("health: %s", out)
	}
	if out := ok(t, cfg, "status"); !strings.Contains(out, "board        Simulated Raspberry Pi") || !strings.Contains(out, ", heat since ") {
		t.Errorf("status: %s", out)
	}
	if f := examined(t, cfg)["board"]; f.OK || !strings.Contains(f.Says, "heat since") || !strings.Contains(f.Fix, "Cool the board") {
		t.Errorf("doctor: %+v", f)
	}
	if out := ok(t, cfg, "events", "$board/power"); strings.Count(out, "\n") != 1 || !strings.Contains(out, `"simulated":true`) {
		t.Errorf("events: %s", out)
	}
}

// HW-5, HW-1: the header of a simulated board has its pins, as what they are.
func TestHeaderIsDrawn(t *testing.T) {
	t.Parallel()
	out := ok(t, simulated(t), "hw", "header")
	for _, want := range []string{
		`(?m)^Simulated Raspberry Pi$`,
		`(?m)^ +3V3  \( 1\) \( 2\)  5V$`,
		`(?m)^high +input default/door +SPI1 CE1 +GPIO17  \(11\) \(12\)  GPIO18 +PCM CLK +free  -$`,
		`(?m)^high +output default/lamp +GPIO22  \(15\) \(16\)  GPIO23 +free  -$`,
		`(?m)^ +GND  \(39\) \(40\)  GPIO21 +PCM DOUT +free  -$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("there is no %s in\n%s", want, out)
		}
	}
}

// HW-1: what is unknown is called so, with the reason; what a stranger wrote moves no
// cursor.
func TestUnknownIsSaid(t *testing.T) {
	t.Parallel()
	h := drawHeader(&board.Header{Model: new("Raspberry Pi 5"), Chip: "\x1b[2J", Pins: []board.HeaderPin{
		{Number: 1, Name: "3V3", Use: board.UsePower},
		{Number: 2, Name: "GPIO2", Line: "SDA1", Use: board.UseOther, By: "i2c-1"},
		{Number: 3, Name: "GPIO3", Use: board.UseUnknown},
		{Number: 4, Name: "GPIO4", Use: board.UseInput, App: "a", Pin: "door", Fault: "in use"},
	}, Missing: []board.Missing{{What: "chip", Why: "/dev/gpiochip0 is closed to this user", Fix: "Join it."}}})
	want := "Raspberry Pi 5, chip  [2J\n\n" +
		"                3V3  ( 1) ( 2)  GPIO2 SDA1    used by i2c-1  -\n" +
		"-  unknown    GPIO3  ( 3) ( 4)  GPIO4         input a/door   -\n" +
		"\na/door: in use\nchip: /dev/gpiochip0 is closed to this user. Join it.\n"
	if h != want {
		t.Errorf("got\n%s\nwant\n%s", h, want)
	}
	lines := healthLines(&board.Report{Health: board.Health{UndervoltageSeen: new(true)}, Missing: []board.Missing{{What: "memory_available", Why: "hidden", Fix: "Show it."}}})
	var text strings.Builder
	for _, l := range lines {
		text.WriteString(l[0] + "|" + l[1] + "\n")
	}
	for _, want := range []string{"board|model unknown\n", "temperature|unknown\n", "power|unknown now, but undervoltage since the board was started\n", "throttling|unknown\n", "memory|unknown available of unknown\n", "unknown|memory available: hidden. Show it.\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in %s", want, text.String())
		}
	}
}

// HW-5: a board without pins and sensors says how it gets some; the level of a pin is taken in any case.
func TestNothingIsConfigured(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	if out := ok(t, cfg, "hw", "list"); !strings.Contains(out, "The app default has no pins: name them in the configuration") || strings.Contains(out, "DIRECTION") {
		t.Errorf("pins: %s", out)
	}
	if out := ok(t, cfg, "hw", "sensors"); !strings.Contains(out, "No sensor is configured: 'picloud hw scan'") || strings.Contains(out, "DRIVER") {
		t.Errorf("sensors: %s", out)
	}
	if out := ok(t, simulated(t), "hw", "set", "lamp", "OFF"); !strings.HasPrefix(out, "lamp is off") {
		t.Errorf("set: %s", out)
	}
}

// HW-4: the latest reading of a sensor is read by its name, as the level of a pin is. What is
// neither is said to be neither.
func TestReadASensor(t *testing.T) {
	t.Parallel()
	cfg := simulated(t)
	until(t, "the room to be measured", func() bool { _, _, code := do(t, cfg, "", "hw", "read", "room"); return code == 0 })
	if out := ok(t, cfg, "hw", "read", "room"); !regexp.MustCompile(`^[\d.]+ celsius, [\d.]+ hectopascal, [\d.]+ percent \(simulated\)\n$`).MatchString(out) {
		t.Errorf("read: %s", out)
	}
	if out := ok(t, cfg, "hw", "read", "room", "--json"); !strings.Contains(out, `"topic": "sensors/room"`) {
		t.Errorf("read: %s", out)
	}
	if out := ok(t, cfg, "hw", "read", "lamp"); out != "on\n" {
		t.Errorf("a pin: %s", out)
	}
	if _, says, code := do(t, cfg, "", "hw", "read", "roof"); code != exitNotFound || !strings.Contains(says, `There is no such pin or sensor: "roof": 'picloud hw list' and`) {
		t.Errorf("code %d, %s", code, says)
	}
	attic := sensor.Defaults("attic")
	attic.Driver, attic.Bus = "bme280", 199
	attic, _ = attic.Complete()
	cfg = newConfig(t)
	cfg.Sensors = []sensor.Settings{attic}
	t.Cleanup(runNode(t, cfg))
	until(t, "the fault to be found", func() bool {
		_, says, _ := do(t, cfg, "", "hw", "read", "attic")
		return strings.Contains(says, "there is no bus /dev/i2c-199")
	})
	if out, _, code := do(t, cfg, "", "hw", "read", "attic"); code != exitBusy || out != "" {
		t.Errorf("code %d, %s", code, out)
	}
}

// HW-5: watching fits a terminal: lines are cut, and pins that have no room are counted.
func TestWatchFitsTheTerminal(t *testing.T) {
	t.Parallel()
	v := &hwView{app: "default", pins: make([]api.Pin, 30)}
	for i := range v.pins {
		v.pins[i] = api.Pin{Name: fmt.Sprint("pin-", i), Line: "GPIO1", Topic: strings.Repeat("long", 40)}
	}
	const width, height = 80, 24
	lines := strings.Split(v.picture(width, height), "\n")
	if len(lines) > height || !slices.Contains(lines, "and 15 more, for which the terminal is too low") {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, l := range lines {
		if n := utf8.RuneCountInString(l); n > width {
			t.Errorf("%d characters: %s", n, l)
		}
	}
	v.sensors = make([]api.Sensor, 30)
	for i := range v.sensors {
		v.sensors[i] = api.Sensor{Name: fmt.Sprint("sensor-", i), Driver: "ds18b20", Values: map[string]float64{"celsius": 21.5}}
	}
	lines = strings.Split(v.picture(width, height), "\n")
	if len(lines) > height || !slices.Contains(lines, "and 24 more, for which the terminal is too low") || slices.ContainsFunc(lines, func(l string) bool { return utf8.RuneCountInString(l) > width }) {
		t.Errorf("with sensors, %d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "sensor-5 ") && strings.HasSuffix(l, "21.5 celsius") }) {
		t.Errorf("the sensors are not shown:\n%s", strings.Join(lines, "\n"))
	}
	if all := v.picture(math.MaxInt, math.MaxInt); strings.Count(all, "GPIO1") != 30 || strings.Contains(all, "…") {
		t.Errorf("without a size:\n%s", all)
	}
}
