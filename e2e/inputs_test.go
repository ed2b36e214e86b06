package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picloud/picloud/api"
)

// told returns the events of a topic, oldest first.
func (n *node) told(topic string) (list []api.Event) {
	n.t.Helper()
	out, errs, code := n.run("", "events", topic, "--json", "--since", "all", "--limit", "100000")
	if code != 0 {
		n.t.Fatalf("code %d, %s", code, errs)
	}
	for line := range strings.Lines(out) {
		var e api.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			n.t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// HW-2, HW-5: the inputs of docs/board.md publish what their simulated fingers do, as
// the device that they are; scripts and subscribers get it like any other event.
func TestInputsAsDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/board.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## Inputs\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, config, _ := strings.Cut(section, "\n```toml\n")
	config, _, found := strings.Cut(config, "\n```\n")
	if !found {
		t.Fatal("docs/board.md has no inputs")
	}
	n := withPins(t, config)
	n.cli("topics", "create", "bell", "--external", "--auth", "public")
	s := n.subscribe("", "/v1/apps/default/topics/bell/events")
	s.want(t, "hello")
	for _, line := range []string{"hw sim press bell --bounce 10ms", "hw sim press meter --for 30ms --times 20", "hw sim set door on"} {
		if !strings.Contains(section, "\npicloud "+line+"\n") {
			t.Errorf("docs/board.md does not say %q", line)
		}
		n.cli(strings.Fields(line)...)
	}
	if f := s.want(t, ""); !strings.Contains(f.Data, `"data":{"gesture":"press","at":"`) || !strings.Contains(f.Data, `"simulated":true}`) || !strings.Contains(f.Data, `"source":"device:bell"`) {
		t.Errorf("%+v", f)
	}
	until(t, "the door is open", func() bool { return len(n.told("door")) == 2 })
	first, last := n.told("door")[0], n.told("door")[1]
	if !strings.Contains(string(first.Data), `"open":false`) || !strings.Contains(string(first.Data), `"initial":true`) || !strings.HasPrefix(string(last.Data), `{"open":true,"at":"`) || last.Source != "device:door" {
		t.Errorf("%s\n%s", first.Data, last.Data)
	}
	if list := n.told("bell"); len(list) != 1 {
		t.Errorf("one press gave %d events", len(list))
	}
	metrics, err := n.request("GET", "/metrics", n.key("", "instance:read"), "")
	for _, want := range []string{
		"picloud_edge_to_frame_seconds_count 1\n", `picloud_input_events_total{app="default",pin="bell"} 1` + "\n", `picloud_input_edges_total{app="default",pin="meter"} 20` + "\n",
	} {
		if err != nil || !strings.Contains(string(metrics.body), want) {
			t.Errorf("%s is missing in /metrics: %v", want, err)
		}
	}
}

// HW-2: whenever a node is killed, the totals that a counter has told never go back, and
// what is lost are at most the pulses since it told the last one.
func TestCounterSurvivesKills(t *testing.T) {
	t.Parallel()
	n := withPins(t, "[hw.inputs.meter]\nline = \"GPIO1\"\ntopic = \"power\"\nkind = \"counter\"\nevery = \"1s\"\n")
	pulses := 0
	for range 6 {
		told := len(n.told("power"))
		for range 1 + rand.IntN(3) {
			n.cli("hw", "sim", "press", "meter", "--for", "1ms", "--times", "50")
			pulses += 50
		}
		until(t, "the counter has told something", func() bool { return len(n.told("power")) > told })
		n.kill()
		n.start()
	}
	n.cli("hw", "sim", "press", "meter", "--for", "1ms", "--times", "50")
	n.stop()
	n.start()
	pulses += 50
	n.cli("hw", "sim", "press", "meter", "--for", "1ms")
	until(t, "the counter has told the last", func() bool {
		list := n.told("power")
		return strings.Contains(string(list[len(list)-1].Data), `"count":0`)
	})
	var last uint64
	for _, e := range n.told("power") {
		var d struct{ Total, Count uint64 }
		if err := json.Unmarshal(e.Data, &d); err != nil {
			t.Fatal(err)
		}
		if d.Total < last+d.Count {
			t.Errorf("a total of %d with %d pulses came after %d", d.Total, d.Count, last)
		}
		last = d.Total
	}
	if last < 51 || last > uint64(pulses)+1 {
		t.Errorf("the total is %d, of %d pulses", last, pulses+1)
	}
}

// HW-2: an input of an app that is not there is told once, and publishes its newest state
// as soon as the app is there. An app that is deleted meanwhile does no harm.
func TestInputOfAMissingApp(t *testing.T) {
	t.Parallel()
	n := withPins(t, "[hw.inputs.door]\nline = \"GPIO1\"\napp = \"shop\"\ntopic = \"door\"\n[hw.outputs.lock]\nline = \"GPIO1\"\n")
	for _, level := range []string{"on", "off", "on"} {
		n.cli("hw", "set", "lock", level)
	}
	until(t, "the fault is told", func() bool {
		return strings.Contains(n.process().log.String(), "events of the pin cannot be published")
	})
	n.cli("apps", "create", "shop")
	until(t, "the newest state is published", func() bool {
		out, _, _ := n.run("", "--app", "shop", "events", "door")
		return strings.Contains(out, `{"on":true,`) && strings.Contains(out, `"count":3`) && strings.Count(out, "\n") == 1
	})
	n.cli("apps", "delete", "shop")
	n.cli("hw", "set", "lock", "off")
	until(t, "the fault is told again", func() bool { return strings.Count(n.process().log.String(), "cannot be published") == 2 })
	n.cli("publish", "other", "1")
	if log := n.process().log.String(); strings.Count(log, "published again") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// HW-2: `picloud config check` refuses inputs that cannot work, and says where they are.
func TestConfigCheckOfInputs(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	file := filepath.Join(n.home, "picloud.toml")
	for text, want := range map[string]string{
		"[hw.inputs.a]\nline = \"GPIO1\"\n[hw.inputs.b]\nline = \"GPIO1\"\n":                      ":4: hw.inputs.b.line: it has the line GPIO1, as hw.inputs.a has",
		"[hw.inputs.a]\nline = \"GPIO1\"\ntopic = \"other:door\"\n":                               ":3: hw.inputs.a.topic: ",
		"[hw.inputs.a]\nline = \"GPIO1\"\ntopic = \"door\"\ndata = '{\"on\":$on}'\n":              ":4: hw.inputs.a.data: the template is not JSON",
		"[hw.inputs.a]\nline = \"GPIO1\"\ntopic = \"door\"\nkind = \"counter\"\nevery = \"0s\"\n": ":5: hw.inputs.a.every: \"0s\": use a time from 1s to 24h with its unit",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, errs, code := n.run("", "config", "check", "--config", file); code == 0 || !strings.Contains(errs, file+want) {
			t.Errorf("code %d, %s\nwant %s", code, errs, want)
		}
	}
}

// HW-2, HW-4, HW-5: without a terminal `picloud hw watch` tells every change in a line.
func TestWatch(t *testing.T) {
	t.Parallel()
	n := withPins(t, "[hw.inputs.door]\nline = \"GPIO1\"\ntopic = \"door\"\n[hw.outputs.lamp]\nline = \"GPIO2\"\n[hw.sensors.room]\ndriver = \"ds18b20\"\nevery = \"1s\"\n")
	file := filepath.Join(n.home, "watched")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read below
	cmd := exec.CommandContext(t.Context(), binary, "hw", "watch")
	cmd.Env, cmd.Stdout = n.environ(), f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := func() string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	until(t, "the pins are shown", func() bool { return strings.Contains(out(), "pin lamp is off (simulated)\n") })
	n.cli("hw", "sim", "set", "door", "on")
	n.cli("hw", "set", "lamp", "on")
	for _, want := range []string{`  door  {"on":true,"at":"`, "pin door is on (simulated)\n", "pin lamp is on (simulated)\n", "  sensor room is at ", `  sensors/room  {"celsius":`} {
		until(t, fmt.Sprintf("%q is shown", want), func() bool { return strings.Contains(out(), want) })
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted: %v", err)
	}
}
