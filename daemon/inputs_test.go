package daemon_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/hw"
)

// HW-2: inputs have what their kind needs, and what is not given has its default.
func TestInputsAreRead(t *testing.T) {
	t.Parallel()
	c, err := daemon.Load(daemon.Source{File: write(t, map[string]string{"picloud.toml": `
[hw.inputs.door]
line = "GPIO17"
topic = "door"
debounce = "5ms"
min_interval = "1s"
data = '{"open":"$on"}'
[hw.inputs.bell]
line = "GPIO4"
kind = "button"
topic = "bell"
double = "400ms"
[hw.inputs.gate]
line = "GPIO5"
kind = "button"
topic = "gate"
debounce = "0s"
hold = "0s"
[hw.inputs]
meter = { line = "GPIO6", kind = "counter", topic = "power", durability = "telemetry" }
`})})
	want := []hw.PinConfig{
		{App: "default", Name: "door", Line: "GPIO17", Topic: "door", Kind: hw.KindEdges, Edges: hw.EdgesBoth, Debounce: 5 * time.Millisecond, MinInterval: time.Second, Data: `{"open":"$on"}`},
		{App: "default", Name: "bell", Line: "GPIO4", Topic: "bell", Kind: hw.KindButton, Debounce: 20 * time.Millisecond, Hold: time.Second, Double: 400 * time.Millisecond},
		{App: "default", Name: "gate", Line: "GPIO5", Topic: "gate", Kind: hw.KindButton},
		{App: "default", Name: "meter", Line: "GPIO6", Topic: "power", Kind: hw.KindCounter, Edges: hw.EdgesRising, Every: time.Minute, Durability: picloud.DurabilityTelemetry},
	}
	if err != nil || !slices.Equal(c.Pins, want) {
		t.Fatalf("%+v, %v", c.Pins, err)
	}
	for _, line := range []string{"hw.inputs.bell.double              400ms", "hw.inputs.meter.every              1m0s", "hw.inputs.door.kind                edges"} {
		if !strings.Contains(c.Show(), line+"\n") {
			t.Errorf("%q is not shown:\n%s", line, c.Show())
		}
	}
}

// HW-2: what an input cannot do is refused with file and line.
func TestFaultsOfInputs(t *testing.T) {
	t.Parallel()
	const door = "[hw.inputs.door]\nline = 'GPIO1'\n"
	const topic = door + "topic = 'door'\n"
	for text, want := range map[string]string{
		topic + "every = '0s'\nkind = 'counter'":                  ":4: hw.inputs.door.every: \"0s\": use a time from 1s to 24h",
		topic + "debounce = '20'":                                 ":4: hw.inputs.door.debounce: \"20\": use a time",
		topic + "debounce = '11s'":                                ":4: hw.inputs.door.debounce",
		topic + "min_interval = '-1s'":                            ":4: hw.inputs.door.min_interval",
		topic + "hold = '2m'":                                     ":4: hw.inputs.door.hold",
		topic + "double = '6s'":                                   ":4: hw.inputs.door.double",
		topic + "kind = 'switch'":                                 ":4: hw.inputs.door.kind: \"switch\": use edges or button or counter",
		topic + "edges = 'up'":                                    ":4: hw.inputs.door.edges: \"up\": use rising or falling or both",
		topic + "durability = 'central'":                          ":4: hw.inputs.door.durability",
		topic + "durability = ''":                                 ":4: hw.inputs.door.durability",
		topic + "data = '{\"on\":$on}'":                           "picloud.toml:4: hw.inputs.door.data: the template is not JSON: byte 7",
		topic + "data = '{\"on\":\"$total\"}'":                    "picloud.toml:4: hw.inputs.door.data: the template has \"$total\"",
		topic + "data = '1'":                                      "picloud.toml:4: hw.inputs.door.data: the template is no JSON object",
		door + "topic = 'shop:door'":                              ":3: hw.inputs.door.topic: \"shop:door\": an input publishes to topics of its own app alone",
		door + "topic = '$board/health'":                          ":3: hw.inputs.door.topic: Topic names beginning with '$' belong to the system",
		door + "topic = 'doors/*'":                                ":3: hw.inputs.door.topic: The topic name is not valid",
		door + "edges = 'both'":                                   "picloud.toml:1: hw.inputs.door.topic: say to which topic its events go, such as topic = \"door\"",
		door + "kind = 'counter'":                                 "say to which topic",
		door + "debounce = '1ms'":                                 "say to which topic",
		topic + "hold = '1s'":                                     ":4: hw.inputs.door.hold: it is for kind = \"button\"",
		topic + "every = '1s'":                                    ":4: hw.inputs.door.every: it is for kind = \"counter\"",
		topic + "kind = 'button'\nedges = 'both'":                 ":5: hw.inputs.door.edges: it is not for kind = \"button\"",
		topic + "kind = 'counter'\nmin_interval = '1s'":           ":5: hw.inputs.door.min_interval: it is not for kind = \"counter\"",
		"[hw.outputs.lamp]\nline = 'GPIO1'\ntopic = 'lamp'":       ":3: hw.outputs.lamp.topic: unknown setting of a pin",
		topic + "[hw.inputs.gate]\nline = 'GPIO1'\ntopic = 'x'":   "picloud.toml:5: hw.inputs.gate.line: it has the line GPIO1, as hw.inputs.door has",
		"[hw.inputs]\na = { line = 'x' }\n\nb = { line = 'x' }\n": "picloud.toml:4: hw.inputs.b.line: it has the line x, as hw.inputs.a has",
	} {
		if _, err := daemon.Load(daemon.Source{File: write(t, map[string]string{"picloud.toml": text})}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}
