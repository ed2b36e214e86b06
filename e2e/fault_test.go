package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// filled makes a stopped node with some history.
func filled(t *testing.T) (n *node, key string, want []event) {
	t.Helper()
	n = startNode(t)
	key = n.key("", "instance:admin")
	for i := range 30 {
		n.do(201, nil, "POST", "/v1/apps/default/topics/t/events", key, fmt.Sprintf(`"event-%02d"`, i))
	}
	want = n.history(key, "default", "t")
	if code := n.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	return n, key, want
}

// OP-7: whatever has happened to the files, the node starts in the best honest
// mode, says what is wrong, and serves what is left.
func TestStartsWithDamagedFiles(t *testing.T) {
	t.Parallel()
	segment := func(t *testing.T, n *node) string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(n.data, "journal", "*.log"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		return files[0]
	}
	edit := func(t *testing.T, name string, change func(b []byte) []byte) {
		t.Helper()
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, change(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	zero := func(b []byte) []byte { return make([]byte, len(b)) }
	for name, c := range map[string]struct {
		damage   func(t *testing.T, n *node)
		left     int
		keyWorks bool
	}{
		"state.db missing": {func(t *testing.T, n *node) { _ = os.Remove(filepath.Join(n.data, "state.db")) }, 30, true},
		"state.db zeroed":  {func(t *testing.T, n *node) { edit(t, filepath.Join(n.data, "state.db"), zero) }, 30, true},
		"node.json gone":   {func(t *testing.T, n *node) { _ = os.Remove(filepath.Join(n.data, "node.json")) }, 30, true},
		"node.json broken": {func(t *testing.T, n *node) { edit(t, filepath.Join(n.data, "node.json"), zero) }, 30, true},
		"bit flipped": {func(t *testing.T, n *node) {
			edit(t, segment(t, n), func(b []byte) []byte { b[bytes.Index(b, []byte("event-15"))] ^= 4; return b })
			_ = os.Remove(filepath.Join(n.data, "state.db")) // else nobody reads there before a reader does
		}, 29, true},
		"journal zeroed": {func(t *testing.T, n *node) { edit(t, segment(t, n), zero) }, 0, true},
		"journal gone":   {func(t *testing.T, n *node) { _ = os.RemoveAll(filepath.Join(n.data, "journal")) }, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, key, want := filled(t)
			c.damage(t, n)
			p := n.start()
			got := n.history(key, "default", "t")
			if len(got) != c.left {
				t.Errorf("%d of %d events are left, want %d\n%s", len(got), len(want), c.left, p.log)
			}
			n.do(201, nil, "POST", "/v1/apps/default/topics/t/events", key, `"after"`)
			var node struct {
				Status string
				Notes  []string
			}
			n.do(200, &node, "GET", "/v1/node", key, "")
			if c.left < 30 && (node.Status != "degraded" || len(node.Notes) == 0) {
				t.Errorf("the node says %+v", node)
			}
			n.kill()
			n.start()
			if again := n.history(key, "default", "t"); len(again) != c.left+1 {
				t.Errorf("%d events after another start, want %d", len(again), c.left+1)
			}
		})
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to mount")
	}
}

// PB-7, OP-7: a disk that fills up refuses publishing with 507, loses nothing,
// and takes up again when there is space.
func TestDiskFullAndFreeAgain(t *testing.T) {
	t.Parallel()
	needRoot(t)
	n := newNode(t, "PICLOUD_STORAGE_RESERVE_BYTES=8388608")
	if err := os.MkdirAll(n.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", n.data, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() { n.kill(); _ = unix.Unmount(n.data, unix.MNT_DETACH) })
	n.start()
	key := n.key("", "instance:admin")
	const path = "/v1/apps/default/topics/t/events"
	n.do(201, nil, "POST", path, key, `1`)
	ballast := filepath.Join(n.data, "ballast")
	var st unix.Statfs_t
	if err := unix.Statfs(n.data, &st); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ballast, make([]byte, int64(st.Bavail)*int64(st.Bsize)-4<<20), 0o600); err != nil { //nolint:unconvert // its type differs between boards
		t.Fatal(err)
	}
	until(t, "publishing to be refused", func() bool {
		a, err := n.request("POST", path, key, `2`)
		if err == nil && a.status == 507 && a.header.Get("Retry-After") == "" {
			t.Error("507 without Retry-After")
		}
		return err == nil && a.status == 507
	})
	before := n.history(key, "default", "t")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until(t, "publishing to be possible again", func() bool {
		a, err := n.request("POST", path, key, `3`)
		return err == nil && a.status == 201
	})
	if got := n.history(key, "default", "t"); len(got) != len(before)+1 {
		t.Errorf("%d events, want %d", len(got), len(before)+1)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second) // a busy machine takes its time
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
		pause(t.Context(), 50*time.Millisecond)
	}
}

// OP-7, OP-8: on a disk that cannot be written the node serves what there is
// and refuses the rest with what to do.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	needRoot(t)
	n, key, want := filled(t)
	if err := unix.Mount(n.data, n.data, "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() { n.kill(); _ = unix.Unmount(n.data, unix.MNT_DETACH) })
	if err := unix.Mount("", n.data, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatalf("remount: %v", err)
	}
	n.start()
	if got := n.history(key, "default", "t"); len(got) != len(want) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
	a := n.do(503, nil, "POST", "/v1/apps/default/topics/t/events", key, `1`)
	if !bytes.Contains(a.body, []byte("read-only")) {
		t.Errorf("%s", a.body)
	}
	if code := n.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A second daemon on the same directory, and a directory of somebody else, are
// refused with what to do.
func TestDirectoryOfAnother(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	second := n2(n)
	second.listen = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p := second.launch()
	<-p.exited
	if p.code != 1 || !strings.Contains(p.log.String(), "--data") {
		t.Errorf("second daemon: code %d\n%s", p.code, p.log)
	}
	needRoot(t)
	foreign := newNode(t)
	if err := os.MkdirAll(foreign.data, 0o700); err != nil { // root's
		t.Fatal(err)
	}
	if err := os.Chmod(foreign.home, 0o777); err != nil {
		t.Fatal(err)
	}
	foreign.uid = 65534
	p = foreign.launch()
	<-p.exited
	if p.code != 1 || !strings.Contains(p.log.String(), "writable") {
		t.Errorf("directory of root: code %d\n%s", p.code, p.log)
	}
}

// Clients that are slow, silent or many cost nobody else anything.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	n := startNode(t, "PICLOUD_REALTIME_WRITE_TIMEOUT_SEC=2", "PICLOUD_REALTIME_MAX_PER_ADDRESS=300")
	key := n.key("", "instance:admin")
	const path = "/v1/apps/default/topics/t/events"
	var silent []net.Conn
	for i := range 100 {
		conn, err := net.Dial("tcp", n.listen)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		switch i % 3 {
		case 0: // a head that never ends
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ")
		case 1: // a body that never comes
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n[", path)
		case 2: // a subscriber that never reads
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", path, key)
			silent = append(silent, conn)
		}
	}
	s := n.subscribe(key, path)
	s.want(t, "hello")
	pad := `"` + strings.Repeat("x", 100_000) + `"`
	for range 120 {
		var r receipt
		began := time.Now()
		n.do(201, &r, "POST", path, key, pad)
		if f := s.want(t, ""); f.ID != r.ID {
			t.Fatalf("got %s, want %s", f.ID, r.ID)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("an event took %v", took)
		}
	}
	until(t, "the silent subscribers to be cut", func() bool {
		var node struct{ Subscribers int }
		n.do(200, &node, "GET", "/v1/node", key, "")
		return node.Subscribers == 1
	})
	_ = silent
	for i := range 3000 { // thousands of topics
		if i%100 == 0 {
			batch := make([]string, 100)
			for k := range batch {
				batch[k] = fmt.Sprintf(`{"topic":"many/%d","data":%d}`, i+k, i+k)
			}
			n.do(201, nil, "POST", "/v1/apps/default/events", key, "["+strings.Join(batch, ",")+"]")
		}
	}
	if got := n.history(key, "default", "many/17", "many/2999"); len(got) != 2 {
		t.Errorf("history %+v", got)
	}
}
