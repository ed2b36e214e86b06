package httpapi_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/budget"
	"github.com/picloud/picloud/httpapi"
)

// dialSmall opens a connection whose kernel buffers for what arrives are small.
func (n *node) dialSmall(t *testing.T) net.Conn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}}
	conn, err := d.DialContext(t.Context(), "tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// until polls: nothing tells that memory was given back.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
	}
}

func manyConnections(c *httpapi.Config) { c.MaxConnections, c.MaxPerAddress = 500, 500 }

// SR-1, SR-2: requests to a busy script wait in bounded number and with bounded memory, and
// not for senders that have left; those are not run.
func TestSendersThatLeaveHoldNothing(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"large": 1_000_000, "small": 5_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sendersLeave(t, size)
		})
	}
}

func sendersLeave(t *testing.T, size int) {
	t.Helper()
	n := newNode(t, manyConnections)
	n.serve(t, `
import { kv, time } from "picloud";
export const slow = async ({ body }) => { await kv.increment("runs", 1); await time.sleep(3000); return body.length; };`, "slow")
	memory := n.cfg.Budget
	body := strings.Repeat("x", size)
	var group sync.WaitGroup
	for range 60 {
		group.Go(func() {
			conn, err := net.Dial("tcp", n.addr)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = fmt.Fprintf(conn, "POST /apps/default/slow HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body) // may be refused early
			_ = conn.Close()
		})
	}
	group.Wait()
	for _, h := range []budget.Holder{budget.Bodies, budget.Runs} {
		if held := memory.Held(h); held > memory.Share(h) {
			t.Errorf("%v hold %d bytes, their share is %d", h, held, memory.Share(h))
		}
	}
	until(t, "those that wait to go", func() bool { return memory.Held(budget.Runs) <= 3*(len(body)+1000) && memory.Held(budget.Bodies) == 0 })
	until(t, "all to go", func() bool { return memory.Held(budget.Runs) == 0 })
	e, err := n.store.Entry("default", "runs")
	if runs, _ := strconv.Atoi(string(e.Value)); err != nil && !errors.Is(err, picloud.ErrKVNotFound) || runs > 3 { // none, when all had left before
		t.Errorf("%s runs for senders that had left, %v", e.Value, err)
	}
	if a := n.ask(t, "POST", "/apps/default/slow", "", "abc", "Content-Type", "text/plain"); a.status != 200 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// SR-2: more requests to scripts of an app than may wait are refused early, and say when
// to come again. Scripts of another app run meanwhile.
func TestFullQueueRefusesEarly(t *testing.T) {
	t.Parallel()
	n := newNode(t, manyConnections)
	const source = `import { time } from "picloud"; export const slow = async () => { await time.sleep(2000); return 1; }; export const quick = () => 2;`
	n.serve(t, source, "slow")
	if a := n.ask(t, "POST", "/v1/apps", n.admin, `{"name":"other"}`); a.status != 201 {
		t.Fatal(a.status)
	}
	if a := n.ask(t, "PUT", "/v1/apps/other/scripts/s", n.admin, source, "Content-Type", "text/javascript"); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := n.ask(t, "PUT", "/v1/apps/other/endpoints/quick", n.admin, `{"script":"s","export":"quick","path":"/quick","auth":"public"}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	type outcome struct {
		status int
		after  string
		took   time.Duration
	}
	outcomes := make(chan outcome, 100)
	for range cap(outcomes) {
		go func() {
			began := time.Now()
			a := n.ask(t, "GET", "/apps/default/slow", "", "")
			outcomes <- outcome{a.status, a.header.Get("Retry-After"), time.Since(began)}
		}()
	}
	refused := 0
	for range cap(outcomes) / 2 {
		o := <-outcomes
		if o.status == 503 {
			refused++
			if o.after == "" {
				t.Error("a refusal does not say when to come again")
			}
		}
	}
	if refused < cap(outcomes)/3 {
		t.Errorf("of the first %d answers %d were refusals", cap(outcomes)/2, refused)
	}
	if a := n.ask(t, "GET", "/apps/other/quick", "", ""); a.status != 200 {
		t.Errorf("another app: %d %s", a.status, a.body)
	}
	for range cap(outcomes) / 2 {
		if o := <-outcomes; o.status != 200 && o.status != 503 || o.took > 15*time.Second {
			t.Errorf("%+v", o)
		}
	}
}

// SR-1, SR-2: readers that do not take their answers hold no more than the share, in the
// name of their app; readers of another app get theirs.
func TestAnswersThatAreNotTaken(t *testing.T) {
	t.Parallel()
	n := newNode(t, manyConnections)
	if _, err := n.store.CreateApp(t.Context(), picloud.App{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	value := `"` + strings.Repeat("x", 400_000) + `"`
	for _, app := range []string{"default", "other"} {
		if a := n.ask(t, "PUT", "/v1/apps/"+app+"/kv/large", n.admin, value, "Content-Type", "application/octet-stream"); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	memory := n.cfg.Budget
	const request = "GET /v1/apps/default/kv/large HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
	var conns []net.Conn
	for range 20 {
		conn := n.dialSmall(t)
		if _, err := io.WriteString(conn, strings.Repeat(request+n.admin+"\r\n\r\n", 30)); err != nil { // more than the kernel takes
			t.Fatal(err)
		}
		conns = append(conns, conn)
		if held, share := memory.Held(budget.Answers), memory.Share(budget.Answers); held > share {
			t.Fatalf("answers hold %d bytes, their share is %d", held, share)
		}
	}
	until(t, "answers to be held", func() bool { return memory.Held(budget.Answers) > 0 })
	a := n.ask(t, "GET", "/v1/apps/other/kv/large", n.admin, "")
	for a.status == 429 || a.status == 503 { // while the others reserve
		if a.header.Get("Retry-After") == "" {
			t.Fatal("a refusal does not say when to come again")
		}
		a = n.ask(t, "GET", "/v1/apps/other/kv/large", n.admin, "")
	}
	if a.status != 200 || string(a.body) != value {
		t.Errorf("another app: %d, %d bytes", a.status, len(a.body))
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	until(t, "the answers to go", func() bool { return memory.Held(budget.Answers) == 0 })
}

// SR-1, SR-2: large bodies that arrive slowly hold no more than the share, in the name of
// their app. Publishing to another app goes on.
func TestLargeBodiesThatAreSlow(t *testing.T) {
	t.Parallel()
	n := newNode(t, manyConnections, func(c *httpapi.Config) { c.ReadTimeout = 20 * time.Second })
	if _, err := n.store.CreateApp(t.Context(), picloud.App{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	memory := n.cfg.Budget
	for i := range 30 {
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		framing := "Content-Length: 1000000\r\n\r\nx"
		if i%2 == 1 {
			framing = "Transfer-Encoding: chunked\r\n\r\nf0000\r\n" + strings.Repeat("x", 0xf0000)
		}
		go func() { // what is refused is not read
			_, _ = io.WriteString(conn, "PUT /v1/apps/default/kv/k HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nAuthorization: Bearer "+n.admin+"\r\n"+framing)
		}()
	}
	until(t, "bodies to arrive", func() bool { return memory.Held(budget.Bodies) > memory.Share(budget.Bodies)/3 })
	if held, share := memory.Held(budget.Bodies), memory.Share(budget.Bodies); held > share {
		t.Errorf("bodies hold %d bytes, their share is %d", held, share)
	}
	large := `"` + strings.Repeat("x", 200_000) + `"`
	for i := range 5 {
		if a := n.ask(t, "POST", "/v1/apps/other/topics/t/events", n.admin, large); a.status != 201 {
			t.Errorf("publish %d: %d %s", i, a.status, a.body)
		}
		if a := n.askWith(t, n.local, "http://x", "PUT", "/v1/apps/default/kv/by-operator", "", large); a.status != 200 {
			t.Errorf("the operator: %d %s", a.status, a.body)
		}
	}
}
