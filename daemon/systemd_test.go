package daemon_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/logtest"
)

// notices receives what systemd is told.
type notices struct {
	t    *testing.T
	conn *net.UnixConn
	all  []string
}

func listenToNotices(t *testing.T) *notices {
	t.Helper()
	addr := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "n"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", addr.Name)
	return &notices{t: t, conn: conn}
}

// until returns the notice that matches a pattern, which comes within a minute.
func (n *notices) until(pattern string) string {
	n.t.Helper()
	b := make([]byte, 4096)
	_ = n.conn.SetReadDeadline(time.Now().Add(time.Minute)) // a machine may have much else to do
	for {
		size, err := n.conn.Read(b)
		if err != nil {
			n.t.Fatalf("waiting for %s after %q: %v", pattern, n.all, err)
		}
		text := string(b[:size])
		n.all = append(n.all, text)
		if regexp.MustCompile(pattern).MatchString(text) {
			return text
		}
	}
}

// OP-3: READY=1 is said when the node answers on both sockets, a reload is told from its
// beginning to its end, the watchdog hears of the node, and the stop is told.
func TestSystemdIsTold(t *testing.T) { //nolint:paralleltest // sets the environment
	told := listenToNotices(t)
	t.Setenv("WATCHDOG_USEC", "300000")
	file, cfg, load := reloadable(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- daemon.Run(ctx, cfg, daemon.Options{Log: new(logtest.Buffer), Reload: load, Watch: []string{file}})
	}()
	ready := told.until(`(?m)^READY=1$`)
	addr := strings.TrimSuffix(ready[strings.Index(ready, "Serving on ")+len("Serving on "):], ".")
	local := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", cfg.SocketPath())
	}}
	for _, client := range []*http.Client{http.DefaultClient, {Transport: local}} {
		res, err := client.Get("http://" + addr + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("ready, and the node answers %d", res.StatusCode)
		}
		client.CloseIdleConnections()
	}
	told.until(`^WATCHDOG=1$`)
	if err := os.WriteFile(file, []byte("log.level = \"loud\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	told.until(`^RELOADING=1\nMONOTONIC_USEC=[1-9]\d+$`)
	told.until(`^READY=1$`)
	told.until(`^STATUS=Serving on .* The configuration was not reloaded: `)
	cancel()
	told.until(`^STOPPING=1\nSTATUS=Stopping$`)
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, text := range told.all {
		if strings.Contains(text, "trigger") {
			t.Errorf("told %q", text)
		}
	}
}

// OP-3: a receiver of notices that takes none holds up neither the start nor the stop.
func TestNoticesThatAreNotTaken(t *testing.T) { //nolint:paralleltest // sets the environment
	listenToNotices(t) // and never reads
	full, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }() // has told nothing
	for err == nil {
		_ = full.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, err = full.Write([]byte("x"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- daemon.Run(ctx, config(t), daemon.Options{Log: new(logtest.Buffer), Serves: func(string) { cancel() }})
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the node has not stopped")
	}
}
