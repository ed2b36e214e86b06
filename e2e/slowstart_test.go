package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A first start on a disk of 50 kB/s asks systemd for more time as long as the disk works, also
// during the one sync that takes most of it and in which the process does nothing. While
// the disk hangs it asks for none. (OP-3)
func TestSlowStartHasMoreTime(t *testing.T) {
	t.Parallel()
	d := newDisks(t, diskBytes)
	n := newNode(t, "PICLOUD_SPOOL=off", "PICLOUD_STORAGE_RESERVE_BYTES=-1")
	n.data = filepath.Join(d.dir, "mnt", "data")
	d.inSmallRequests("mnt")
	told := n.notices()
	d.live.slowDown(20 * time.Microsecond)
	defer d.live.slowDown(0)
	defer n.kill()
	p := n.launch()
	next := func() string {
		select {
		case text := <-told:
			return text
		case <-p.exited:
			t.Fatalf("the node has ended: %s", p.log)
		case <-time.After(5 * time.Minute):
			t.Fatalf("systemd is told nothing: %s", p.log)
		}
		return ""
	}
	asks := func(text string) bool { return strings.Contains(text, "EXTEND_TIMEOUT_USEC=") }
	for !asks(next()) {
	}
	release := d.live.stick()
	defer release()
	hung := 0
	for end := time.After(35 * time.Second); end != nil; {
		select {
		case text := <-told:
			if asks(text) {
				hung++
			}
		case <-end:
			end = nil
		}
	}
	if hung > 1 { // what had been done since the look before
		t.Errorf("the node asked for more time %d times while its disk hung", hung)
	}
	release()
	slow := 0
	for text := next(); !strings.HasPrefix(text, "READY=1"); text = next() {
		if asks(text) {
			slow++
		}
	}
	t.Logf("the node asked for more time %d times while its disk was slow, and %d times while it hung", slow, hung)
	if slow < 3 {
		t.Errorf("the node asked for more time %d times only", slow)
	}
}

// inSmallRequests makes the kernel write to the disk that is mounted at a place by 64 KiB,
// where a card takes 512 KiB at most and a loop device more.
func (d *disks) inSmallRequests(at string) {
	d.t.Helper()
	device := d.sh("mountpoint", "-d", filepath.Join(d.dir, at))
	if err := os.WriteFile("/sys/dev/block/"+device+"/queue/max_sectors_kb", []byte("64"), 0); err != nil {
		d.t.Fatal(err)
	}
}

// notices makes the test what systemd is to the node, and returns what it is told.
func (n *node) notices() <-chan string {
	n.t.Helper()
	name := filepath.Join(n.home, "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = conn.Close() })
	n.env = append(n.env, "NOTIFY_SOCKET="+name)
	told := make(chan string, 1000)
	go func() {
		defer close(told)
		for b := make([]byte, 4096); ; {
			size, err := conn.Read(b)
			if err != nil {
				return
			}
			told <- string(b[:size])
		}
	}()
	return told
}
