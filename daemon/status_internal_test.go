package daemon

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picloud/picloud/store"
)

// OP-3: STATUS= says how the node serves and what is wrong, on one line.
func TestStatusText(t *testing.T) {
	t.Parallel()
	lan := &net.TCPAddr{IP: net.IPv6unspecified, Port: 7420}
	well := card{free: 10 << 30}
	for name, test := range map[string]struct {
		condition condition
		want      string
	}{
		"at rest":        {condition{listen: lan, card: well, reserve: 64 << 20}, "Serving on :7420."},
		"busy":           {condition{listen: lan, subscribers: 12, copied: "copy 3 s behind", card: well}, "Serving on :7420, 12 subscribers, copy 3 s behind."},
		"one subscriber": {condition{listen: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, subscribers: 1, card: well}, "Serving on 127.0.0.1:80, 1 subscriber."},
		"card almost full": {
			condition{listen: lan, card: card{free: 200 << 20}, reserve: 64 << 20},
			"Serving on :7420. The card is almost full: 200 MiB are free, and below 64 MiB publishing is refused.",
		},
		"card full": {
			condition{listen: lan, card: card{free: 1 << 20}, reserve: 64 << 20, health: store.Health{NoSpace: true, Degraded: true, Notes: []string{"The disk is full."}}},
			"Serving on :7420. Degraded: The disk is full.",
		},
		"no reserve, size unknown": {condition{listen: lan, card: card{free: -1}, reserve: -1}, "Serving on :7420."},
		"read-only meanwhile": {
			condition{listen: lan, card: card{free: 1 << 30, readOnly: true}, reserve: 1 << 20},
			"Serving on :7420. The card has become read-only: reading works, publishing will fail. 'dmesg' says why; replace the card if it is worn out.",
		},
		"degraded": {
			condition{listen: lan, card: well, health: store.Health{Degraded: true, Notes: []string{"A is lost.", "B is lost.", "C is lost."}}},
			"Serving on :7420. Degraded: A is lost. And 2 more: 'picloud status'.",
		},
		"faulty configuration": {condition{listen: lan, card: well, fault: "picloud.toml:3: unknown setting"}, "Serving on :7420. The configuration was not reloaded: picloud.toml:3: unknown setting"},
	} {
		if got := test.condition.String(); got != test.want {
			t.Errorf("%s:\n%s\n%s", name, got, test.want)
		}
	}
}

// OP-3: no text of a status is taken for another assignment, such as the one that asks
// the watchdog to act.
func TestStatusIsOneAssignment(t *testing.T) {
	t.Parallel()
	if got := saysStatus("a\nWATCHDOG=trigger\r\nb"); got != "STATUS=a WATCHDOG=trigger b" {
		t.Errorf("%q", got)
	}
	got := saysStatus(strings.Repeat("ä", 1000))
	if len(got) > maxStatus+20 || !strings.HasSuffix(got, "ä …") {
		t.Errorf("%q", got)
	}
}

// A start that computes, reads or waits for a disk that works comes forward; another does not.
func TestProgressOfAStart(t *testing.T) {
	t.Parallel()
	before := work{cpu: 100, blocks: 7, disk: 9}
	for _, test := range []struct {
		now  work
		want bool
	}{
		{before, false},
		{work{cpu: 100 + leastWork - 1, blocks: 7, disk: 9}, false},
		{work{cpu: 100 + leastWork, blocks: 7, disk: 9}, true},
		{work{cpu: 100, blocks: 8, disk: 9}, true},
		{work{cpu: 100, blocks: 7, waits: true, disk: 9}, false},
		{work{cpu: 100, blocks: 7, disk: 10}, false},
		{work{cpu: 100, blocks: 7, waits: true, disk: 10}, true},
	} {
		if got := test.now.since(before); got != test.want {
			t.Errorf("%+v: %v", test.now, got)
		}
	}
	if w := workOn("no/such/directory")(); w.cpu <= 0 {
		t.Errorf("%+v", w)
	}
}

// OP-3: a long start asks for more time as long as it comes forward, and only so long.
func TestLongStartHasMoreTime(t *testing.T) { //nolint:paralleltest // sets the environment
	notices := listenToNotices(t)
	var looks atomic.Int64
	const forward = 5 // looks for which the start does
	done := extendStart(time.Millisecond, func() work { return work{blocks: min(looks.Add(1), forward)} })
	for deadline := time.Now().Add(time.Minute); looks.Load() < 3*forward; {
		if time.Now().After(deadline) {
			t.Fatal("the start is not looked at")
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // looks have no signal
	}
	done()
	if got := nextNotice(t, notices, time.Now().Add(time.Minute)); got != "STATUS=Starting: reading the data directory" {
		t.Errorf("%q", got)
	}
	for range forward - 1 {
		if got := nextNotice(t, notices, time.Now().Add(time.Minute)); got != "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=Starting: reading the data directory for 0 s" {
			t.Errorf("%q", got)
		}
	}
	if got := nextNotice(t, notices, time.Now().Add(10*time.Millisecond)); got != "" {
		t.Errorf("it does not come forward, and asks %q", got)
	}
}
