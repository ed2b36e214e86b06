package httpapi_test

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/httpapi"
	"github.com/picloud/picloud/logtest"
)

// OP-3: a caller who leaves a download is no error of the node.
func TestBackupThatIsLeftIsNoError(t *testing.T) {
	t.Parallel()
	var log logtest.Buffer
	n := newNode(t, func(c *httpapi.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	noise := rand.NewChaCha8([32]byte{})
	if _, err := n.store.PutFile(t.Context(), picloud.FileChange{App: "default", Path: "large", Size: -1}, io.LimitReader(noise, 32<<20)); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /v1/backup HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+n.admin+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond) // the log has no signal
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !strings.Contains(log.String(), "backup") {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("nothing is logged: %s", log.String())
		}
	}
	if text := log.String(); strings.Contains(text, "level=ERROR") || !strings.Contains(text, "its caller has left") {
		t.Error(text)
	}
}
