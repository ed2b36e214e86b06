package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// OP-8, HW-2, HW-4: with a subscriber who waits, clients who only read, and a board whose 64 pins and 16
// sensors have nothing to tell, nothing reaches the disk.
func TestQuietWhenIdle(t *testing.T) {
	t.Parallel()
	n := withPins(t, fullBoard())
	key := n.key("", "instance:admin")
	n.do(201, nil, "POST", "/v1/apps/default/topics", key, `{"name":"t","external":true,"auth_mode":"public"}`)
	n.do(201, nil, "POST", "/v1/apps/default/topics/t/events", key, `1`)
	n.subscribe("", "/v1/apps/default/topics/t/events").want(t, "hello")

	before, started := n.written(), time.Now()
	for settled := time.Now(); time.Since(settled) < 2*time.Second; {
		if now := n.written(); now != before {
			before, settled = now, time.Now()
		}
		if time.Since(started) > time.Minute {
			t.Fatalf("it does not become quiet: %v\n%s", n.touched(settled), n.process().log)
		}
		pause(t.Context(), 100*time.Millisecond) // how long nothing happens is what is tested
	}
	began := time.Now()
	for range 40 {
		n.do(200, nil, "GET", "/healthz", "", "")
		n.do(200, nil, "GET", "/metrics", key, "")
		n.do(200, nil, "GET", "/v1/apps/default/topics/t/events", key, "", "Accept", "application/json")
		pause(t.Context(), 200*time.Millisecond)
	}
	if after := n.written(); after != before {
		t.Errorf("%d bytes were written to the disk while nothing happened: %v\n%s", after-before, n.touched(began), n.process().log)
	}
}

// touched lists the files that were changed or read for the first time since.
func (n *node) touched(since time.Time) (names []string) {
	_ = filepath.WalkDir(n.home, func(name string, _ fs.DirEntry, _ error) error {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil && (time.Unix(st.Ctim.Unix()).After(since) || time.Unix(st.Atim.Unix()).After(since)) {
			names = append(names, name)
		}
		return nil
	})
	return names
}

var writeBytes = regexp.MustCompile(`(?m)^write_bytes: (\d+)$`)

// written returns the bytes that the node has caused to be written to disks.
func (n *node) written() int64 {
	n.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", n.process().cmd.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	m := writeBytes.FindSubmatch(b)
	if m == nil {
		n.t.Fatalf("no write_bytes in %s", b)
	}
	v, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		n.t.Fatal(err)
	}
	return v
}
