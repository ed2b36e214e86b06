// Package appliance tests the binary under its units, with a systemd that runs them. The
// tests are run in a container by `make appliance`.
package appliance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	dropIns  = "/run/systemd/system/picloud.service.d"
	settings = "/run/appliance/picloud.toml"
	url      = "http://127.0.0.1:7420"

	sound = `
[hw.sensors.mtu]
driver = "file"
path = "/sys/class/net/lo/mtu"
topic = "mtu"
`
)

// appliance is the one that runs here.
type appliance struct {
	*testing.T

	key string
}

// OP-3, OP-8: the appliance as its users have it. The stories build on each other.
func TestAppliance(t *testing.T) { //nolint:paralleltest // there is one systemd
	if os.Getenv("APPLIANCE") == "" {
		t.Skip("needs a systemd that runs picloud.service: `make appliance` has one")
	}
	a := appliance{T: t}
	a.Logf("from the first start, with an empty directory, until READY=1 it took %v", a.moment("ActiveEnterTimestampMonotonic")-a.moment("ExecMainStartTimestampMonotonic"))
	a.configure(sound)
	a.dropIn("10-config.conf", "[Service]\nExecStart=\nExecStart=/usr/bin/picloud serve --config "+settings+"\n")
	a.command("systemctl", "restart", "picloud.service")
	a.key = a.newKey("picloud")
	a.cli("topics", "create", "t", "--external", "--auth", "public")
	for _, story := range []struct {
		name string
		run  func(appliance)
	}{
		{"serves as its own user", appliance.serves},
		{"works in its sandbox", appliance.works},
		{"is locked in", appliance.isLockedIn},
		{"logs to the journal", appliance.logs},
		{"reloads", appliance.reloads},
		{"takes a credential", appliance.takesCredential},
		{"rests", appliance.rests},
		{"restarts under load", appliance.restarts},
		{"comes back from kill -9", appliance.comesBack},
		{"is upgraded under load", appliance.isUpgraded},
		{"serves HTTPS", appliance.servesHTTPS},
		{"copies to Postgres", appliance.copies},
		{"does not spin", appliance.doesNotSpin},
		{"hangs", appliance.hangs},
		{"tells that the card is almost full", appliance.fills},
		{"tells that the card is read-only", appliance.isRemounted},
	} {
		a.command("systemctl", "reset-failed", "picloud.service") // starts of the story before count no more
		t.Run(story.name, func(t *testing.T) { story.run(appliance{t, a.key}) })
	}
	if t.Failed() {
		out, _ := exec.Command("journalctl", "-b", "--no-pager", "-n", "200", "-u", "picloud.service", "-u", "picloud.socket").CombinedOutput()
		t.Logf("%s", out)
	}
}

// command runs a command, which must succeed, and returns what it printed.
func (a appliance) command(name string, args ...string) string {
	a.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		var said []byte
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			said = exit.Stderr
		}
		a.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, said)
	}
	return strings.TrimSpace(string(out))
}

// cli runs a command of the operator's.
func (a appliance) cli(args ...string) string {
	a.Helper()
	return a.command("picloud", args...)
}

// newKey returns a key that may do everything, which a binary makes.
func (a appliance) newKey(binary string) string {
	a.Helper()
	var k struct{ Key string }
	if err := json.Unmarshal([]byte(a.command(binary, "keys", "create", "--json", "--instance", "--scope", "instance:admin")), &k); err != nil {
		a.Fatal(err)
	}
	return k.Key
}

// property returns a property of the service.
func (a appliance) property(name string) string {
	a.Helper()
	return a.command("systemctl", "show", "picloud.service", "--value", "-p", name)
}

// moment returns a property of the service that is a time of the monotonic clock.
func (a appliance) moment(name string) time.Duration {
	a.Helper()
	us, err := strconv.ParseInt(a.property(name), 10, 64)
	if err != nil {
		a.Fatal(err)
	}
	return time.Duration(us) * time.Microsecond
}

func (a appliance) write(name, text string) {
	a.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		a.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		a.Fatal(err)
	}
}

func (a appliance) configure(text string) {
	a.Helper()
	a.write(settings, text)
}

// dropIn adds to the unit, or takes away what it added when text is empty.
func (a appliance) dropIn(name, text string) {
	a.Helper()
	file := filepath.Join(dropIns, name)
	if text == "" {
		if err := os.Remove(file); err != nil {
			a.Fatal(err)
		}
	} else {
		a.write(file, text)
	}
	a.command("systemctl", "daemon-reload")
}

// until waits until something holds. What systemd does has no signal for us.
func (a appliance) until(what string, holds func() bool) {
	a.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); {
		if time.Now().After(deadline) {
			a.Fatalf("waited for: %s\n%s", what, a.command("systemctl", "show", "picloud.service", "-p", "ActiveState,SubState,Result,NRestarts,StatusText"))
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // as said
	}
}

func (a appliance) statusHas(text string) {
	a.Helper()
	a.until("STATUS= with "+text, func() bool { return strings.Contains(a.property("StatusText"), text) })
}

// serves: READY=1 was said, both sockets answer.
func (a appliance) serves() {
	if got := a.property("ActiveState"); got != "active" {
		a.Error(got)
	}
	a.statusHas("Serving on :7420.")
	if got := a.command("ps", "-o", "user=", "-p", a.property("MainPID")); got != "picloud" {
		a.Errorf("it runs as %s", got)
	}
	if out := a.cli("status"); !strings.Contains(out, "version") {
		a.Error(out)
	}
	leave := a.subscribe()
	a.statusHas("1 subscriber")
	leave()
	a.statusHas("Serving on :7420.")
}

// subscribe opens a stream, and returns the function that closes it.
func (a appliance) subscribe() (leave func()) {
	a.Helper()
	_, leave = a.open(http.DefaultClient, url)
	return leave
}

// open opens a stream of the topic t at a base URL, and returns it and the function that closes it.
func (a appliance) open(client *http.Client, base string) (stream io.Reader, leave func()) {
	a.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v1/apps/default/topics/t/events", nil)
	if err != nil {
		a.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := client.Do(req)
	if err != nil {
		a.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		a.Fatalf("a stream has status %d", res.StatusCode)
	}
	return res.Body, func() {
		cancel()
		_ = res.Body.Close()
	}
}

// get returns what a path of the interface answers.
func (a appliance) get(path string, v any) {
	a.Helper()
	req, err := http.NewRequestWithContext(a.Context(), http.MethodGet, url+path, nil)
	if err != nil {
		a.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		a.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(v); err != nil || res.StatusCode != http.StatusOK {
		a.Fatalf("%s: status %d, %v", path, res.StatusCode, err)
	}
}

// works: what the node needs of the machine is open to it.
func (a appliance) works() {
	var board map[string]any
	a.get("/v1/node/board", &board)
	for _, figure := range []string{"memory_total", "memory_available", "cpu", "load", "uptime_seconds", "clock_synced", "disk_free"} {
		if board[figure] == nil {
			a.Errorf("%s is unknown: %v", figure, board)
		}
	}
	a.write("/run/appliance/sum.js", "export default () => 1 + 1;\n")
	a.cli("scripts", "push", "/run/appliance/sum.js")
	if out := a.cli("scripts", "run", "sum"); out != "2" {
		a.Error(out)
	}
	// A member of the group drops a file into the spool, which is published; so is a number of /sys.
	spool := "/var/lib/picloud/spool/default/dropped"
	a.command("install", "-d", "-o", "picloud", "-g", "picloud", "-m", "770", filepath.Dir(spool), spool)
	a.asOperator("echo 1 > " + spool + "/.new && mv " + spool + "/.new " + spool + "/one.json")
	for _, topic := range []string{"dropped", "mtu"} {
		a.until("an event of "+topic, func() bool { return a.cli("events", topic) != "" })
	}
}

// asOperator runs a line of the shell as a user who is in the group picloud.
func (a appliance) asOperator(line string) string {
	a.Helper()
	group := strings.Split(a.command("getent", "group", "picloud"), ":")[2]
	return a.command("setpriv", "--reuid=65534", "--regid=65534", "--groups="+group, "sh", "-c", line)
}

// isLockedIn: what it does not need is closed to the node.
func (a appliance) isLockedIn() {
	a.command("systemd-analyze", "security", "--no-pager", "--threshold=20", "picloud.service")
	a.command("systemd-analyze", "verify", "--man=no", "picloud.service", "picloud.socket", "picloud-retry.timer")
}

// logs: entries have priorities, and fields by which they are found.
func (a appliance) logs() {
	var entry map[string]any
	line := a.command("journalctl", "-b", "-u", "picloud.service", "-o", "json", "-n", "1", "PICLOUD_COMPONENT=daemon", "PICLOUD_LISTEN=[::]:7420")
	if err := json.Unmarshal([]byte(line), &entry); err != nil {
		a.Fatalf("%v: %s", err, line)
	}
	for field, want := range map[string]string{"PRIORITY": "6", "SYSLOG_IDENTIFIER": "picloud", "_TRANSPORT": "journal", "PICLOUD_SOCKET": "/run/picloud/picloud.sock"} {
		if entry[field] != want {
			a.Errorf("%s is %v in %s", field, entry[field], line)
		}
	}
}

// reloads: what is sound is applied, what is not is told, and the node goes on.
func (a appliance) reloads() {
	pid := a.property("MainPID")
	a.configure("log.level = \"loud\"\n" + sound)
	a.command("systemctl", "reload", "picloud.service")
	a.statusHas("The configuration was not reloaded: " + settings)
	if out := a.command("journalctl", "-b", "-u", "picloud.service", "-p", "err", "-o", "cat", "-n", "1"); !strings.Contains(out, "configuration was not reloaded") {
		a.Error(out)
	}
	a.configure(sound)
	a.command("systemctl", "reload", "picloud.service")
	a.statusHas("Serving on :7420.")
	if got := a.property("ActiveState"); got != "active" || a.property("MainPID") != pid {
		a.Errorf("%s, process %s was %s", got, a.property("MainPID"), pid)
	}
}

// takesCredential: the key of secrets is in a file that root alone can read.
func (a appliance) takesCredential() {
	a.write("/run/appliance/secrets.key", strings.Repeat("k", 32))
	if err := os.Chmod("/run/appliance/secrets.key", 0o600); err != nil {
		a.Fatal(err)
	}
	a.dropIn("20-credential.conf", "[Service]\nLoadCredential=secrets:/run/appliance/secrets.key\nEnvironment=PICLOUD_SECRETS_KEY_FILE=%d/secrets\n")
	a.command("systemctl", "restart", "picloud.service")
	a.command("sh", "-c", "echo -n swordfish | picloud secrets set word")
	a.write("/run/appliance/word.js", "import { secrets } from \"picloud\";\nexport default async () => (await secrets.get(\"word\")).length;\n")
	a.cli("scripts", "push", "/run/appliance/word.js")
	if out := a.cli("scripts", "run", "word"); out != "9" {
		a.Error(out)
	}
	a.dropIn("20-credential.conf", "")
	a.command("systemctl", "restart", "picloud.service")
	if out, err := exec.Command("picloud", "scripts", "run", "word").CombinedOutput(); err == nil {
		a.Errorf("the secret is there without its key: %s", out)
	}
}

// rests: at rest nothing is written, neither to the card nor to the journal.
func (a appliance) rests() {
	a.configure("") // without the sensor
	a.command("systemctl", "restart", "picloud.service")
	look := func() string {
		written, err := os.ReadFile("/proc/" + a.property("MainPID") + "/io")
		if err != nil {
			a.Fatal(err)
		}
		_, written, _ = bytes.Cut(written, []byte("write_bytes"))
		return string(written) + a.command("journalctl", "-b", "-u", "picloud.service", "-o", "cat", "-n", "5")
	}
	before := look()
	for settled := 0; settled < 20; settled++ { // longer than beats and STATUS= take
		time.Sleep(time.Second) //nolint:forbidigo // that nothing happens is what is tested
		if now := look(); now != before && settled < 5 {
			before, settled = now, 0
		} else if now != before {
			a.Fatalf("it does not rest:\n%s\n%s", before, now)
		}
	}
}

// restarts: no connection is refused and no request fails while the node is restarted, as
// an upgrade does it.
func (a appliance) restarts() {
	l := a.load("restarted")
	for range 3 {
		a.command("systemctl", "restart", "picloud.service")
	}
	l.end(false)
}

// comesBack: a killed node is started again, and has what it acknowledged.
func (a appliance) comesBack() {
	l := a.load("killed")
	before := a.property("NRestarts")
	a.command("systemctl", "kill", "-s", "KILL", "picloud.service")
	a.until("a start after the kill", func() bool { return a.property("NRestarts") != before && a.property("ActiveState") == "active" })
	l.end(true)
}

// doesNotSpin: a node that cannot start is left alone for a while, and tried again.
func (a appliance) doesNotSpin() {
	a.dropIn("30-broken.conf", "[Service]\nExecStart=\nExecStart=/bin/false\nRestartSec=100ms\n")
	a.write("/run/systemd/system/picloud-retry.timer.d/soon.conf", "[Timer]\nOnActiveSec=\nOnActiveSec=5s\nAccuracySec=100ms\n")
	a.command("systemctl", "daemon-reload")
	_ = exec.Command("systemctl", "restart", "picloud.service").Run() // fails, as it should
	a.until("rest after ten failures", func() bool {
		return a.command("systemctl", "show", "picloud.socket", "--value", "-p", "Result") == "service-start-limit-hit"
	})
	a.until("a time for a new attempt", func() bool { return exec.Command("systemctl", "is-active", "picloud-retry.timer").Run() == nil })
	a.dropIn("30-broken.conf", "")
	a.dropIn("31-limit.conf", "[Unit]\nStartLimitIntervalSec=1\n") // the rest is shorter than in the product
	a.until("a new attempt", func() bool { return a.property("ActiveState") == "active" })
	a.dropIn("31-limit.conf", "")
	if got := a.command("systemctl", "show", "picloud.socket", "--value", "-p", "ActiveState"); got != "active" {
		a.Error(got)
	}
}

// hangs: the watchdog restarts a node of which a part hangs. The binary is one whose parts
// can be made to.
func (a appliance) hangs() {
	a.dropIn("40-hang.conf", "[Unit]\nStartLimitBurst=20\n[Service]\nExecStart=\nExecStart=/usr/bin/picloud-hang serve --config "+settings+"\nWatchdogSec=6\nTimeoutAbortSec=5\n")
	a.command("systemctl", "restart", "picloud.service")
	for _, part := range []string{"committer", "hub", "dispatcher"} {
		before := a.property("NRestarts")
		leave := func() {}
		if part == "hub" {
			leave = a.subscribe() // lets it look at its clock
		}
		a.cli("publish", "t", "1") // lets the committer ask, as it goes round, whether the board is hot
		a.write("/run/picloud/hang-"+part, "")
		a.until("the watchdog, since the "+part+" hangs", func() bool { return a.property("NRestarts") != before && a.property("ActiveState") == "active" })
		out := a.command("journalctl", "-b", "-u", "picloud.service", "-o", "json", "-n", "1", "PICLOUD_PART=the "+part)
		if !strings.Contains(out, "hangs") {
			a.Errorf("the log does not say that the %s hangs: %s", part, out)
		}
		if out := a.command("journalctl", "-b", "-u", "picloud.service", "-o", "cat", "-n", "200", "_PID=1"); !strings.Contains(out, "Watchdog timeout") {
			a.Error(out)
		}
		leave()
	}
	a.dropIn("40-hang.conf", "")
	a.command("systemctl", "restart", "picloud.service")
}

// fills: that the card is almost full is told before it is.
func (a appliance) fills() {
	a.command("fallocate", "-l", "350M", "/var/lib/picloud/other")
	a.statusHas("The card is almost full")
	a.command("rm", "/var/lib/picloud/other")
	a.until("STATUS= without it", func() bool { return !strings.Contains(a.property("StatusText"), "almost full") })
}

// isRemounted: the kernel makes a file system read-only that it does not trust any more. The
// node says so, reads on, and is well when that has passed.
func (a appliance) isRemounted() {
	a.cli("publish", "t", `"before"`)
	a.command("mount", "-o", "remount,abort", "/var/lib/picloud")
	client := &http.Client{Timeout: 10 * time.Second}
	_ = a.publish(client, "t", "1") // which the node notices at the latest now
	a.statusHas("cannot be written")
	if out := a.cli("events", "t"); !strings.Contains(out, "before") {
		a.Errorf("it does not read: %s", out)
	}
	if out := a.command("journalctl", "-b", "-u", "picloud.service", "-p", "err", "-o", "cat"); !strings.Contains(out, "read-only file system") {
		a.Errorf("the log does not say why the node failed: %s", out)
	}
}
