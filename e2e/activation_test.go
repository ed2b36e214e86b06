package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// takesSockets makes the node one to which sockets are passed, as systemd does, and that
// outlive it.
func (n *node) takesSockets() {
	n.t.Helper()
	tcp, err := net.Listen("tcp", n.listen)
	if err != nil {
		n.t.Fatal(err)
	}
	unix, err := net.Listen("unix", n.socket())
	if err != nil {
		n.t.Fatal(err)
	}
	for _, ln := range []net.Listener{tcp, unix} {
		file, err := ln.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			n.t.Fatal(err)
		}
		n.passes = append(n.passes, file)
		n.t.Cleanup(func() { file.Close(); ln.Close() })
	}
	n.wrap = []string{"sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=2 exec "$@"`, "sh"}
}

// OP-3: a node that gets its sockets from systemd refuses no connection while it is
// stopped and started, and has afterwards what it acknowledged. Both sockets stay.
func TestRestartRefusesNoConnection(t *testing.T) {
	t.Parallel()
	n := newNode(t, "PICLOUD_RETENTION_MAX_EVENTS=1000000")
	n.takesSockets()
	n.start()
	n.cli("topics", "create", "t", "--external", "--auth", "public")
	key := n.key("default", "app:publish")
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	for worker := range 4 {
		load.Go(func() {
			client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}} // each request is a connection
			for i := 0; ctx.Err() == nil; i++ {
				data := fmt.Sprintf(`"%d/%d"`, worker, i)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.url+"/v1/apps/default/topics/t/events", strings.NewReader(data))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+key)
				req.Header.Set("Content-Type", "application/json")
				res, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				res.Body.Close()
				if res.StatusCode != http.StatusCreated {
					t.Errorf("status %d", res.StatusCode)
					return
				}
				mu.Lock()
				acknowledged[data] = true
				mu.Unlock()
			}
		})
	}
	for range 3 {
		if code := n.stop(); code != 0 {
			t.Errorf("exit code %d\n%s", code, n.process().log)
		}
		n.start()
	}
	cancel()
	load.Wait()
	events := n.history(n.key("default", "app:read"), "default", "t")
	for _, e := range events {
		var data string
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		delete(acknowledged, string(e.Data))
	}
	if len(acknowledged) > 0 || len(events) == 0 {
		t.Errorf("%d acknowledged events of %d are missing", len(acknowledged), len(events))
	}
	if out := n.cli("status"); !strings.Contains(out, "up") { // over the Unix socket
		t.Error(out)
	}
}

// What the setting listen says and what systemd holds are the same, or the node does not
// start, serves nothing, and says what to do.
func TestListenThatContradictsTheSocket(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.takesSockets()
	n.env = append(n.env, fmt.Sprintf("PICLOUD_LISTEN=127.0.0.1:%d", freePort(t)))
	p := n.launch()
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		t.Fatal("the node runs")
	}
	if p.code == 0 || !strings.Contains(p.log.String(), "systemctl edit picloud.socket") {
		t.Errorf("exit code %d\n%s", p.code, p.log)
	}
}

// OP-3: what is passed instead of a listening stream socket is refused by its number, before the node serves, and a
// number that is none is no reason to hang.
func TestPassedDescriptorsThatAreWrong(t *testing.T) {
	t.Parallel()
	file := func(f interface{ File() (*os.File, error) }, err error) *os.File {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		out, err := f.File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { out.Close() })
		return out
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	dialed, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close() })
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	listening := file(tcp.(*net.TCPListener), nil)
	for name, c := range map[string]struct {
		fds   string
		files []*os.File
		says  string
	}{
		"more than there are": {"3", []*os.File{listening}, "socket 2 of 3 that systemd passes (b) is no socket"},
		"UDP":                 {"2", []*os.File{listening, file(udp.(*net.UDPConn), nil)}, "socket 2 of 2 that systemd passes (b) is neither a TCP nor a Unix stream socket"},
		"a connection":        {"1", []*os.File{file(dialed.(*net.TCPConn), nil)}, "socket 1 of 1 that systemd passes (a) does not listen"},
		"very many":           {"2000000000", []*os.File{listening}, "LISTEN_FDS is \"2000000000\""},
		"no number":           {"many", []*os.File{listening}, "LISTEN_FDS is \"many\""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			n.passes, n.wrap = c.files, []string{"sh", "-c", "LISTEN_PID=$$ LISTEN_FDS=" + c.fds + " LISTEN_FDNAMES=a:b exec \"$@\"", "sh"}
			p := n.launch()
			select {
			case <-p.exited:
			case <-time.After(time.Minute):
				t.Fatalf("the node runs\n%s", p.log)
			}
			if p.code == 0 || !strings.Contains(p.log.String(), c.says) || strings.Contains(p.log.String(), "msg=serving") {
				t.Errorf("exit code %d\n%s", p.code, p.log)
			}
		})
	}
}
