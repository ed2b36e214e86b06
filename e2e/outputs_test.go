package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// withPins starts a node on a simulated board with the pins of a configuration.
func withPins(tb testing.TB, config string) *node {
	tb.Helper()
	n := newNode(tb, "PICLOUD_HW_DRIVER=sim")
	file := filepath.Join(n.home, "picloud.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	n.args = append(n.args, "--config", file)
	n.start()
	return n
}

// pin is a pin as GET /v1/apps/{app}/pins/{pin} answers it.
type pin struct {
	On    *bool
	ForMS int64  `json:"for_ms"`
	SetBy string `json:"set_by"`
	Fault string
}

func (n *node) pin(key, name string) (p pin) {
	n.t.Helper()
	n.do(200, &p, "GET", "/v1/apps/default/pins/"+name, key, "")
	return p
}

// HW-3: the commands of docs/board.md work as they are printed there.
func TestOutputsAsDocumented(t *testing.T) {
	t.Parallel()
	n := withPins(t, "[hw.outputs.lamp]\nline = \"GPIO22\"\ninvert = true\n[hw.outputs.door-opener]\nline = \"GPIO23\"\n")
	doc, err := os.ReadFile("../docs/board.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## Outputs\n")
	_, block, _ := strings.Cut(section, "\n```sh\n")
	block, _, found := strings.Cut(block, "\n```\n")
	if !found {
		t.Fatal("docs/board.md has no commands for outputs")
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", strings.ReplaceAll(block, "http://127.0.0.1:7420", n.url))
	cmd.Env = n.environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{ // a busy machine takes its time between setting an output and telling so
		`(?m)^lamp is on \(simulated\)$`, `(?m)^door-opener is on for [1-5]\d*ms \(simulated\)$`, `(?m)^on$`,
		`"name":"lamp","line":"GPIO22","output":true,"on":true,`, `"for_ms":[1-5]\d*,"set_by":"key:`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	reader := n.key("default", "app:read")
	for _, name := range []string{"lamp", "door-opener"} {
		until(t, name+" is off after its pulse", func() bool { p := n.pin(reader, name); return !*p.On && p.ForMS == 0 })
	}
	if _, errs, code := n.run("", "hw", "set", "lamp", "maybe"); code != 2 || !strings.Contains(errs, "use on or off") {
		t.Errorf("code %d, %s", code, errs)
	}
	if _, errs, code := n.run("", "hw", "pulse", "lamp", "25h"); code != 4 || !strings.Contains(errs, "1 to 86400000") {
		t.Errorf("code %d, %s", code, errs)
	}
	if _, _, code := n.run("", "hw", "read", "none"); code != 5 {
		t.Errorf("a pin that does not exist: code %d", code)
	}
}

// HW-3: a pulse ends although its script was cut off; a node that was killed in a pulse
// has the output at its start again, and says that nothing has set it since.
func TestPulseOutlivesItsScript(t *testing.T) {
	t.Parallel()
	n := withPins(t, "[hw.outputs.lamp]\nline = \"GPIO22\"\n")
	const source = `
import { hw } from "picloud";
export default async function () {
	await hw.pulse("lamp", 10000);
	while (true) {}
}
`
	if _, errs, code := n.run(source, "scripts", "push", "--name", "stuck", "-"); code != 0 {
		t.Fatal(errs)
	}
	n.cli("triggers", "set", "stuck", "--kind", "pubsub", "--topic", "go", "--script", "stuck", "--timeout", "1s", "--attempts", "1")
	reader := n.key("default", "app:read")
	n.cli("publish", "go", "1")
	until(t, "the pulse has begun", func() bool { p := n.pin(reader, "lamp"); return *p.On && p.ForMS > 0 && p.SetBy == "script:stuck" })
	admin := n.key("default", "app:admin")
	until(t, "the script was cut off", func() bool {
		return strings.Contains(string(n.do(200, nil, "GET", "/v1/apps/default/dead-letters", admin, "").body), `"trigger":"stuck"`)
	})
	if p := n.pin(reader, "lamp"); p.ForMS == 0 {
		t.Fatal("the pulse has ended before the script was cut off")
	}
	until(t, "the pulse has ended", func() bool { p := n.pin(reader, "lamp"); return !*p.On && p.ForMS == 0 })

	n.do(200, nil, "PUT", "/v1/apps/default/pins/lamp", admin, `{"on":true,"for_ms":60000}`)
	n.kill()
	n.start()
	if p := n.pin(reader, "lamp"); *p.On || p.ForMS != 0 || p.SetBy != "" {
		t.Errorf("after a crash: %+v", p)
	}
}

// HW-3: measured over HTTP, a pulse is as long as it was asked to be, within what a
// busy machine and one poll add.
func TestLengthOfAPulse(t *testing.T) {
	t.Parallel()
	n := withPins(t, "[hw.outputs.lamp]\nline = \"GPIO22\"\n")
	key := n.key("default", "app:admin")
	const length = 300 * time.Millisecond
	began := time.Now()
	n.do(200, nil, "PUT", "/v1/apps/default/pins/lamp", key, `{"on":true,"for_ms":300}`)
	set := time.Now()
	var last time.Time
	until(t, "the pulse has ended", func() bool {
		on := *n.pin(key, "lamp").On
		if on {
			last = time.Now()
		}
		return !on
	})
	if ended := time.Now(); ended.Sub(began) < length {
		t.Errorf("the pulse has ended after %v", ended.Sub(began))
	}
	t.Logf("a pulse of %v: seen on until %v after it was answered", length, last.Sub(set))
}

// HW-5: the command line tells a pin whose line is missing with what to do.
func TestUnknownLevel(t *testing.T) {
	t.Parallel()
	n := withPins(t, "[hw.outputs.heater]\nline = \"GPIO5-that-no-machine-has\"\n")
	n.stop()
	n.env = append(n.env, "PICLOUD_HW_DRIVER=kernel")
	n.start()
	out, errs, code := n.run("", "hw", "read", "heater")
	if code != 6 || out != "" || !strings.Contains(errs, "the level of heater is unknown: ") {
		t.Errorf("code %d, %s%s", code, out, errs)
	}
	if _, errs, code := n.run("", "hw", "set", "heater", "on"); code != 6 || !strings.Contains(errs, "The pin cannot be used: ") {
		t.Errorf("code %d, %s", code, errs)
	}
	var list []pin
	if err := json.Unmarshal([]byte(n.cli("hw", "list", "--json")), &list); err != nil || len(list) != 1 || list[0].On != nil || list[0].Fault == "" {
		t.Errorf("%+v, %v", list, err)
	}
}

// HW-3: an output follows the events of a topic with no script, has the newest one's
// state after a stop, a crash and a start with the topic's history, is not set by hand,
// and goes to its state for the stop when its app is deleted.
func TestOutputFollowsATopic(t *testing.T) {
	t.Parallel()
	n := withPins(t, `
[hw.outputs.lamp]
line = "GPIO22"
follow = "door"
[hw.outputs.sign]
line = "GPIO23"
app = "porch"
follow = "door"
follow_path = "/door/open"
invert = true
`)
	key := n.key("", "instance:admin")
	on := func(app, name string) *bool {
		var p pin
		n.do(200, &p, "GET", "/v1/apps/"+app+"/pins/"+name, key, "")
		return p.On
	}
	is := func(app, name string, want bool) {
		t.Helper()
		until(t, name+" has its level", func() bool { l := on(app, name); return l != nil && *l == want })
	}
	is("default", "lamp", false)
	if out := n.cli("hw", "list"); !strings.Contains(out, "topic:door (no event yet)") {
		t.Errorf("before the first event:\n%s", out)
	}
	n.cli("apps", "create", "porch")
	n.cli("publish", "--app", "porch", "door", `{"door":{"open":true}}`)
	is("porch", "sign", true)
	n.cli("publish", "door", `{"on":true}`)
	is("default", "lamp", true)
	if _, errs, code := n.run("", "hw", "set", "lamp", "off"); code != 4 || !strings.Contains(errs, "The newest event of the topic door") {
		t.Errorf("code %d, %s", code, errs)
	}
	for _, end := range []func(){func() { n.stop() }, n.kill} {
		end()
		n.start()
		is("default", "lamp", true)
		is("porch", "sign", true)
		var p pin
		n.do(200, &p, "GET", "/v1/apps/default/pins/lamp", key, "")
		if p.SetBy != "topic:door" {
			t.Errorf("after a restart: %+v", p)
		}
	}
	n.cli("publish", "door", `{"on":"no"}`)
	until(t, "the event is told", func() bool { return strings.Contains(n.cli("hw", "list"), "neither true nor false") })
	is("default", "lamp", true)

	n.cli("apps", "delete", "porch")
	n.cli("apps", "create", "porch")
	is("porch", "sign", false)
	n.cli("publish", "--app", "porch", "door", `{"door":{"open":true}}`)
	is("porch", "sign", true)
}

// HW-3: neither publishers to a followed topic nor clients drive an output more often than
// min_interval says, and the last state always comes.
func TestOutputsChangeInTheirTime(t *testing.T) {
	t.Parallel()
	n := withPins(t, "[hw.outputs.lamp]\nline = \"GPIO22\"\nfollow = \"door\"\n[hw.outputs.bell]\nline = \"GPIO23\"\n[hw.outputs.pump]\nline = \"GPIO24\"\nmin_interval = \"1h\"\n")
	key := n.key("", "instance:admin")
	began := time.Now()
	if _, errs, code := n.run(strings.Repeat("{\"on\":false}\n{\"on\":true}\n", 1000), "publish", "--lines", "door"); code != 0 {
		t.Fatal(errs)
	}
	for i := range 20 {
		n.do(200, nil, "PUT", "/v1/apps/default/pins/bell", key, fmt.Sprintf(`{"on":%t}`, i%2 == 0))
	}
	if p := n.pin(key, "bell"); *p.On || p.Fault != "" {
		t.Errorf("the bell: %+v", p)
	}
	until(t, "the lamp is as the last event says", func() bool { return *n.pin(key, "lamp").On && !strings.Contains(n.cli("hw", "list"), "in ") })
	changes := func(name string) int {
		m := regexp.MustCompile(`picloud_output_changes_total\{app="default",pin="` + name + `"\} (\d+)\n`).FindSubmatch(n.do(200, nil, "GET", "/metrics", key, "").body)
		if m == nil {
			t.Fatal("the changes of outputs are not in /metrics")
		}
		c, _ := strconv.Atoi(string(m[1])) // digits
		return c
	}
	most := int(time.Since(began)/(100*time.Millisecond)) + 1
	for _, name := range []string{"lamp", "bell"} {
		if c := changes(name); c < 1 || c > most {
			t.Errorf("%s has changed %d times, want at most %d", name, c, most)
		}
	}
	if c := changes("bell"); c != 20 {
		t.Errorf("of 20 changes one after the other %d were made", c)
	}
	if out := n.cli("hw", "set", "pump", "on"); !regexp.MustCompile(`^pump is off, on in \d+m[\d.]+s \(simulated\)\n$`).MatchString(out) {
		t.Errorf("set: %s", out)
	}
}
