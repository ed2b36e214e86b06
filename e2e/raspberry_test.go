package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/board"
)

// boardEnv names the binary in the emulated Raspberry Pi that scripts/pi makes: there is
// no compiler to build one.
const boardEnv = "PICLOUD_E2E_BINARY"

func onRaspberryPi(t *testing.T) {
	t.Helper()
	if os.Getenv(boardEnv) == "" {
		t.Skip("needs an emulated Raspberry Pi: make pi")
	}
}

// raspberryPi starts a node on the pins of the board.
func raspberryPi(t *testing.T) *node {
	t.Helper()
	n := newNode(t)
	file := filepath.Join(n.home, "picloud.toml")
	const config = `
[hw.outputs.lamp]
line = "GPIO22"
[hw.outputs.relay]
line = "GPIO23"
invert = true
[hw.inputs.door]
line = "GPIO17"
pull = "up"
topic = "door"
`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	n.args = append(n.args, "--config", file)
	n.serve()
	return n
}

// serve starts the daemon and waits as long as an emulated board takes.
func (n *node) serve() {
	n.t.Helper()
	began := time.Now()
	p := n.launch()
	if err := n.ready(p, 3*time.Minute); err != nil {
		n.t.Fatalf("%v\n%s", err, p.log)
	}
	n.t.Logf("ready after %v", time.Since(began).Round(time.Millisecond))
}

// kernelSays returns what the kernel has on a line: its user, direction and level.
func kernelSays(t *testing.T, line string) string {
	t.Helper()
	b, err := os.ReadFile("/sys/kernel/debug/gpio")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if strings.Contains(l, "("+line+" ") {
			return strings.Join(strings.Fields(l), " ")
		}
	}
	t.Fatalf("the kernel has no line %s in use:\n%s", line, b)
	return ""
}

// HW-1, HW-3, HW-5, SC-4: on a Raspberry Pi the node knows the board, drives its lines by
// command, by HTTP and by script, and reading header, health and buses changes neither
// a driven line nor the standard input of the daemon.
func TestRaspberryPi(t *testing.T) {
	onRaspberryPi(t)
	n := raspberryPi(t)
	standardInput := fmt.Sprintf("/proc/%d/fd/0", n.process().cmd.Process.Pid)
	before, err := os.Readlink(standardInput)
	if err != nil {
		t.Fatal(err)
	}
	is := func(line, want string) {
		t.Helper()
		if says := kernelSays(t, line); !strings.HasSuffix(says, want) && !strings.Contains(says, want+" ") {
			t.Errorf("the kernel says %q, want %q", says, want)
		}
	}
	is("GPIO22", "out lo")
	is("GPIO23", "out hi")
	n.cli("hw", "set", "lamp", "on")
	n.cli("hw", "set", "relay", "on")
	is("GPIO22", "out hi")
	is("GPIO23", "out lo")

	var r board.Report
	if err := json.Unmarshal([]byte(n.cli("hw", "health", "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if r.Simulated || r.Model == nil || !strings.HasPrefix(*r.Model, "Raspberry Pi 3 Model B") || r.Celsius == nil || r.MemoryTotal == nil || *r.MemoryTotal > 512<<20 {
		t.Errorf("health: %s", n.cli("hw", "health"))
	}
	if r.Throttled != nil || !strings.Contains(n.cli("hw", "health"), "unknown") {
		t.Errorf("there is no firmware that could tell of throttling: %s", n.cli("hw", "health"))
	}
	header := n.cli("hw", "header")
	for _, want := range []string{"Raspberry Pi 3 Model B", "output default/lamp", "output default/relay", "input default/door", "(40)"} {
		if !strings.Contains(header, want) {
			t.Errorf("%q is missing in\n%s", want, header)
		}
	}
	t.Logf("header and health:\n%s\n%s\n%s", header, n.cli("hw", "health"), n.cli("hw", "scan"))
	is("GPIO22", "out hi")
	is("GPIO23", "out lo")
	if after, err := os.Readlink(standardInput); err != nil || after != before {
		t.Errorf("the standard input was %q, is %q, %v", before, after, err)
	}

	const source = `
import { hw } from "picloud";
export default (event) => hw.set("lamp", event.data.on);
`
	if _, errs, code := n.run(source, "scripts", "push", "--name", "lamp", "-"); code != 0 {
		t.Fatal(errs)
	}
	n.cli("triggers", "set", "lamp", "--kind", "pubsub", "--topic", "lamp", "--script", "lamp")
	for i := range 5 { // a slow board has to start its worker each time
		want := []string{"out lo", "out hi"}[i%2]
		n.cli("publish", "lamp", fmt.Sprintf(`{"on":%t}`, i%2 == 1))
		until(t, "a script sets the lamp", func() bool { return strings.Contains(kernelSays(t, "GPIO22"), want) })
		if strings.Contains(n.process().log.String(), "worker") {
			t.Errorf("a worker has failed:\n%s", n.process().log)
		}
		n.stop()
		n.serve()
		is("GPIO22", "out lo")
	}
	findings, _, _ := n.run("", "doctor")
	t.Log(findings)
	for line := range strings.Lines(findings) {
		if strings.HasPrefix(line, "BAD") && !strings.HasPrefix(line, "BAD  clock") {
			t.Errorf("doctor: %s", line)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.process().cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "VmHWM") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// HW-7: a board that starts in 1970 marks its events, answers tokens with clock-unknown
// and lets schedules wait. When the clock is set nothing is made up for, and once it is
// synchronised tokens and schedules work, whichever way it is put after that.
func TestClockOfARaspberryPi(t *testing.T) {
	onRaspberryPi(t)
	setClock := func(to time.Time) {
		t.Helper()
		spec := unix.NsecToTimespec(to.UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &spec); err != nil {
			t.Fatal(err)
		}
	}
	synchronised := func(yes bool) {
		t.Helper()
		timex := unix.Timex{Modes: unix.ADJ_STATUS | unix.ADJ_MAXERROR | unix.ADJ_ESTERROR, Status: unix.STA_UNSYNC}
		if yes {
			timex.Status = unix.STA_PLL
		}
		if _, err := unix.Adjtimex(&timex); err != nil {
			t.Fatal(err)
		}
	}
	synchronised(false)
	night := time.Date(1970, 1, 1, 3, 0, 0, 0, time.UTC) // the kernel refuses times before it was started
	setClock(night)
	n := raspberryPi(t)
	admin := n.key("", "instance:admin")
	n.cli("topics", "create", "seen", "--external")
	ran := func() int { return len(n.told("ran")) }
	const source = `
import { pubsub } from "picloud";
export default (event) => pubsub.publish("ran", event.kind);
`
	if _, errs, code := n.run(source, "scripts", "push", "--name", "tick", "-"); code != 0 {
		t.Fatal(errs)
	}
	n.cli("triggers", "set", "tick", "--kind", "cron", "--schedule", "* * * * *", "--script", "tick")
	token := func(status int) (issued api.Token) {
		t.Helper()
		a := n.do(status, nil, "POST", "/v1/apps/default/subscriber-tokens", admin, `{"topics":["seen"]}`)
		if status == 201 {
			if err := json.Unmarshal(a.body, &issued); err != nil {
				t.Fatal(err)
			}
		} else if !strings.Contains(string(a.body), ":clock-unknown") || a.header.Get("Retry-After") == "" {
			t.Errorf("%s, Retry-After %q", a.body, a.header.Get("Retry-After"))
		}
		return issued
	}
	mark := func(want string) {
		t.Helper()
		n.cli("publish", "seen", "1")
		seen := n.told("seen")
		if last := seen[len(seen)-1]; last.Clock != want {
			t.Errorf("at %v the event is marked %q, want %q", time.Now(), last.Clock, want)
		}
	}
	mark("unsynced")
	token(503)
	summer := time.Date(2026, 7, 1, 10, 0, 30, 0, time.UTC)
	setClock(summer)
	mark("unsynced")
	token(503)
	setClock(night.Add(58 * time.Second)) // a minute of 1970 begins, and is none
	pause(t.Context(), 10*time.Second)
	if got := ran(); got != 0 {
		t.Errorf("%d runs without a time", got)
	}

	setClock(summer)
	synchronised(true)
	until(t, "the time is known", func() bool { n.cli("publish", "seen", "1"); s := n.told("seen"); return s[len(s)-1].Clock == "" })
	issued := token(201)
	n.subscribe("", "/v1/apps/default/topics/seen/events?token="+issued.Token).want(t, "hello")
	setClock(summer.Add(25 * time.Second))
	until(t, "the schedule's minute has come", func() bool { return ran() > 0 })
	if got := ran(); got != 1 {
		t.Errorf("%d runs at the first minute, want 1", got)
	}
	setClock(summer.Add(-24 * time.Hour)) // the token is of a time that has not come
	n.do(401, nil, "GET", "/v1/apps/default/topics/seen/events?token="+issued.Token, "", "")
	issued = token(201)
	n.subscribe("", "/v1/apps/default/topics/seen/events?token="+issued.Token).want(t, "hello")
	setClock(summer.Add(26*time.Hour + 25*time.Second))
	until(t, "the schedule goes on after a jump", func() bool { return ran() > 1 })
	pause(t.Context(), 5*time.Second)
	if got := ran(); got > 3 {
		t.Errorf("%d runs after jumps over a day, want 3 at most", got)
	}
}

// TestPublishUntilThePowerIsCut publishes, and prints what is acknowledged, until
// scripts/pi cuts the machine off.
func TestPublishUntilThePowerIsCut(t *testing.T) {
	onRaspberryPi(t)
	n := newNode(t)
	n.data = "/card/kept"
	n.serve()
	key := n.key("default", "app:publish")
	for i := 0; ; i++ {
		var r receipt
		n.do(201, &r, "POST", "/v1/apps/default/topics/kept/events", key, strconv.Itoa(i))
		_, _ = fmt.Fprintf(os.Stdout, "\n@acknowledged %s %d\n", r.ID, i) // the machine's console
	}
}

// Promise 1: what was acknowledged before the power was cut is there.
func TestNothingIsLostWithThePower(t *testing.T) {
	onRaspberryPi(t)
	n := newNode(t)
	n.data = "/card/kept"
	n.serve()
	kept := make(map[string]string)
	for _, e := range n.history(n.key("default", "app:read"), "default", "kept") {
		kept[e.ID] = string(e.Data)
	}
	f, err := os.Open("/acknowledged")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	acknowledged := 0
	for lines := bufio.NewScanner(f); lines.Scan(); acknowledged++ {
		id, data, _ := strings.Cut(lines.Text(), " ")
		if kept[id] != data {
			t.Errorf("event %s was acknowledged with %s, is %q", id, data, kept[id])
		}
	}
	if acknowledged == 0 {
		t.Error("nothing was acknowledged")
	}
	t.Logf("%d acknowledged, %d kept", acknowledged, len(kept))
}
