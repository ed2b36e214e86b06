package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/realtime"
	"github.com/picloud/picloud/store"
)

// gate is a clock that stops while it is locked.
type gate struct{ sync.RWMutex }

func (g *gate) now() time.Time {
	g.RLock()
	defer g.RUnlock()
	return time.Now()
}

// listenToNotices makes this process one that systemd runs, and returns what it is told.
func listenToNotices(t *testing.T) *net.UnixConn {
	t.Helper()
	addr := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "n"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", addr.Name)
	return conn
}

// nextNotice returns the next notice, or "" when there is none by the deadline.
func nextNotice(t *testing.T, conn *net.UnixConn, deadline time.Time) string {
	t.Helper()
	b := make([]byte, 4096)
	if err := conn.SetReadDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(b)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// OP-3: the watchdog of systemd hears of the node while committer, hub and dispatcher
// move, and of none of them while one hangs.
func TestBeatsStopWhileAPartHangs(t *testing.T) { //nolint:paralleltest // sets the environment
	var committer, hub, dispatcher gate
	st, err := store.Open(store.Config{Dir: t.TempDir(), ReserveBytes: -1, Now: committer.now})
	if err != nil {
		t.Fatal(err)
	}
	h, err := realtime.New(realtime.Config{History: st, Node: st.Node().ID, Now: hub.now})
	if err != nil {
		t.Fatal(err)
	}
	owed := dispatch.NewDispatcher(dispatch.DispatcherConfig{Outbox: st, Now: dispatcher.now, Tick: time.Millisecond})
	notices := listenToNotices(t)
	t.Setenv("WATCHDOG_USEC", strconv.Itoa(30_000))
	t.Setenv("WATCHDOG_PID", "")
	p := newPulse(&machine{store: st, hub: h, owed: owed}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, run := range []func(context.Context) error{st.Run, h.Run, owed.Run, p.Run} {
		group.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	defer func() {
		cancel()
		group.Wait()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	// The deadlines are of a machine that has much else to do.
	beat := func() {
		t.Helper()
		if got := nextNotice(t, notices, time.Now().Add(time.Minute)); got != "WATCHDOG=1" {
			t.Fatalf("%q", got)
		}
	}
	for _, part := range []struct {
		name string
		gate *gate
		work func() // makes the part look at its clock
	}{
		{"the committer", &committer, func() {
			go func() {
				_, _ = st.Publish(ctx, picloud.Publication{App: picloud.DefaultApp, By: picloud.System(), Drafts: []picloud.Draft{{Topic: "t", Data: []byte(`1`)}}})
			}()
		}},
		{"the hub", &hub, func() { h.Revoke(picloud.Revocation{App: "other"}) }},
		{"the dispatcher", &dispatcher, func() {}}, // it looks all the time
	} {
		beat()
		part.gate.Lock()
		part.work()
		for deadline := time.Now().Add(time.Minute); !p.waitsFor(part.name); { // until then a beat may be on its way
			if time.Now().After(deadline) {
				t.Fatalf("%s hangs and is not waited for", part.name)
			}
		}
		for deadline := time.Now().Add(time.Minute); nextNotice(t, notices, time.Now().Add(300*time.Millisecond)) != ""; { // those before
			if time.Now().After(deadline) {
				t.Fatalf("%s hangs, and beats go on", part.name)
			}
		}
		if err := p.alive(); err == nil || !strings.HasPrefix(err.Error(), part.name) {
			t.Errorf("%s hangs, and the node says %v", part.name, err)
		}
		part.gate.Unlock()
		beat()
	}
}

// waitsFor reports whether a part was asked long enough ago to hang.
func (p *pulse) waitsFor(part string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waitFor == part && time.Since(p.asked) > 200*time.Millisecond
}
