package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Promise 1: an fsync that fails is final. The node says so and ends with an
// error, and whatever it had acknowledged is there at the next start.
func TestFsyncFailureEndsTheNode(t *testing.T) {
	t.Parallel()
	n := newNode(t, "PICLOUD_SPOOL=off")
	n.plain = true
	n.wrap = []string{"strace", "-f", "-qqq", "--seccomp-bpf", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=60+", "-o", "/dev/null"}
	p := n.start()
	key := n.key("", "instance:admin")
	const path = "/v1/apps/default/topics/t/events"
	var acked []string
	for i := 0; ; i++ {
		a, err := n.request("POST", path, key, fmt.Sprint(i))
		if err != nil || a.status != 201 {
			break
		}
		acked = append(acked, fmt.Sprint(i))
		if i > 1000 {
			t.Fatal("no fsync failed")
		}
	}
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		t.Fatal("the node goes on although an fsync has failed")
	}
	if p.code == 0 || !strings.Contains(p.log.String(), "input/output error") {
		t.Errorf("exit code %d\n%s", p.code, p.log)
	}
	n.wrap = nil
	n.start()
	history := n.history(key, "default", "t")
	if len(history) < len(acked) || len(history) > len(acked)+1 { // the one that was being written may be there
		t.Fatalf("%d events, %d were acknowledged", len(history), len(acked))
	}
	for i, want := range acked {
		if string(history[i].Data) != want {
			t.Errorf("event %d is %s", i, history[i].Data)
		}
	}
}

// With no descriptor left the node refuses newcomers for a while, goes on
// serving those it has, and takes newcomers again when some have left.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	n := newNode(t, "PICLOUD_REALTIME_MAX_SUBSCRIBERS=1000", "PICLOUD_REALTIME_MAX_PER_ADDRESS=1000")
	n.wrap = []string{"prlimit", "--nofile=64:64"}
	n.start()
	key := n.key("", "instance:admin")
	n.do(201, nil, "POST", "/v1/apps/default/topics", key, `{"name":"t","external":true,"auth_mode":"public"}`)
	var open []*stream
	for range 100 {
		s, err := openStream(t.Context(), n.url+"/v1/apps/default/topics/t/events", "")
		if err != nil {
			break
		}
		open = append(open, s)
	}
	if len(open) < 10 || len(open) >= 100 {
		t.Fatalf("%d streams fit into 64 descriptors", len(open))
	}
	for _, s := range open {
		s.want(t, "hello")
	}
	for _, s := range open[5:] {
		s.cancel()
	}
	until(t, "publishing to be possible", func() bool {
		a, err := n.request("POST", "/v1/apps/default/topics/t/events", key, `1`)
		return err == nil && a.status == 201
	})
	for _, s := range open[:5] {
		s.want(t, "")
	}
	n.subscribe("", "/v1/apps/default/topics/t/events").want(t, "hello")
}
