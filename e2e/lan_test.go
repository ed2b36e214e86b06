package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// lanMachine is the machine on which the node runs, of the two that scripts/lan makes. The test
// runs on the other.
type lanMachine struct{ pid string }

// run runs a command on the machine and returns what it prints.
func (m lanMachine) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "nsenter", append([]string{"-t", m.pid, "--net", "--mount", "--uts", "--"}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err != nil && args[0] != binary { // doctor may find something else
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// found returns what the network announces of the service of PiCloud.
func found(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "avahi-browse", "-rpt", "_picloud._tcp").Output()
	if err != nil {
		t.Fatalf("avahi-browse: %v", err)
	}
	return string(out)
}

// OP-9: a browser on another machine of the network finds the node by its name, and takes its
// events over HTTP, over HTTPS, and through nginx and Caddy; also when the board gets
// another name.
func TestLAN(t *testing.T) {
	authority := os.Getenv("PICLOUD_E2E_LAN")
	if authority == "" {
		t.Skip("runs on one of two machines of a network: `make lan` makes them")
	}
	key, pi := os.Getenv("PICLOUD_E2E_LAN_KEY"), lanMachine{os.Getenv("PICLOUD_E2E_LAN_PI")}
	within(t, "the announcement", func() bool {
		return strings.Contains(found(t), `;PiCloud\032on\032pi;_picloud._tcp;local;pi.local;10.77.13.2;7420;`)
	})
	if got := found(t); !strings.Contains(got, `"api=v1"`) || !strings.Contains(got, `"path=/"`) {
		t.Errorf("the announcement is %s", got)
	}

	ctx := browser(t, chromedp.Env("HOME="+trusting(t, authority)))
	direct := &node{t: t, url: "http://10.77.13.2:7420", client: &http.Client{Timeout: time.Minute}}
	direct.do(201, nil, "POST", "/v1/apps/default/topics", key, `{"name":"t","external":true,"auth_mode":"public"}`)
	takes := func(t *testing.T, url string) {
		t.Helper()
		if _, err := chromedp.Run(ctx, chromedp.Navigate(url+"/")); err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		evaluate(ctx, t, `(globalThis.got = [], globalThis.stream = new EventSource("/v1/apps/default/topics/t/events"), stream.onmessage = e => { got.push(JSON.parse(e.data).data) }, 1)`, new(int))
		within(t, url+" to open its stream", func() bool {
			var state int
			evaluate(ctx, t, `stream.readyState`, &state)
			return state == 1
		})
		direct.do(201, nil, "POST", "/v1/apps/default/topics/t/events", key, fmt.Sprintf("%q", url))
		within(t, "an event at "+url, func() bool {
			var got []string
			evaluate(ctx, t, `got`, &got)
			return len(got) == 1 && got[0] == url
		})
		evaluate(ctx, t, `(stream.close(), 1)`, new(int))
	}
	for name, url := range map[string]string{
		"HTTP": "http://pi.local:7420", "HTTPS": "https://pi.local:7443", "nginx": "https://pi.local", "Caddy": "https://pi.local:8443",
	} {
		t.Run(name, func(t *testing.T) { takes(t, url) })
	}
	t.Run("another name", func(t *testing.T) {
		if got := pi.run(t, binary, "doctor"); !strings.Contains(got, "http://pi.local:7420") {
			t.Errorf("doctor says:\n%s", got)
		}
		pi.run(t, "hostname", "garden")
		takes(t, "http://pi.local:7420") // which the network still knows
		if got := pi.run(t, binary, "doctor"); !strings.Contains(got, "avahi does not answer for garden.local") {
			t.Errorf("doctor says:\n%s", got)
		}
		pi.run(t, "avahi-set-host-name", "garden") // what its restart does
		within(t, "the new name", func() bool {
			return strings.Contains(found(t), `;PiCloud\032on\032garden;_picloud._tcp;local;garden.local;10.77.13.2;7420;`)
		})
		takes(t, "http://garden.local:7420")
		if got := pi.run(t, binary, "doctor"); !strings.Contains(got, "http://garden.local:7420") {
			t.Errorf("doctor says:\n%s", got)
		}
	})
}
