package daemon

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/google/go-cmp/cmp"
)

// decodeEntry reads an entry as the journal does.
func decodeEntry(t *testing.T, b []byte) map[string]string {
	t.Helper()
	fields := map[string]string{}
	for len(b) > 0 {
		line, rest, ok := strings.Cut(string(b), "\n")
		if !ok {
			t.Fatalf("no end of line in %q", b)
		}
		if name, value, ok := strings.Cut(line, "="); ok {
			fields[name] = value
			b = []byte(rest)
			continue
		}
		size := binary.LittleEndian.Uint64([]byte(rest))
		fields[line] = rest[8 : 8+size]
		b = []byte(rest[8+size+1:])
	}
	return fields
}

// journalOf returns a log that goes to a journal of the test's.
func journalOf(t *testing.T) (*slog.Logger, *net.UnixConn) {
	t.Helper()
	addr := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "j"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	j, err := openJournald(addr.Name)
	if err != nil {
		t.Fatal(err)
	}
	return slog.New(&journalHandler{journal: j, level: slog.LevelInfo}), conn
}

// receive returns the next entry, which has been sent.
func receive(t *testing.T, conn *net.UnixConn) map[string]string {
	t.Helper()
	b := make([]byte, 64<<10)
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return decodeEntry(t, b[:n])
}

// OP-3: entries have priorities, and fields by which they are found; no value of one is
// taken for another.
func TestEntriesOfTheJournal(t *testing.T) {
	t.Parallel()
	log, conn := journalOf(t)
	log = log.With(slog.String("component", "store"))
	log.Debug("not asked for")
	log.Warn("event was refused", slog.String("app", "shop"), slog.Any("err", errors.New("first line\nPRIORITY=0\nMESSAGE=forged")), slog.Group("g", slog.Int("n", 1)))
	want := map[string]string{
		"SYSLOG_IDENTIFIER": "picloud", "PRIORITY": "4",
		"MESSAGE":           `event was refused component="store" app="shop" err="first line\nPRIORITY=0\nMESSAGE=forged" g_n="1"`,
		"PICLOUD_COMPONENT": "store", "PICLOUD_APP": "shop", "PICLOUD_ERR": "first line\nPRIORITY=0\nMESSAGE=forged", "PICLOUD_G_N": "1",
	}
	if diff := cmp.Diff(want, receive(t, conn)); diff != "" {
		t.Error(diff)
	}
	odd := "odd.näme=\n"
	log.WithGroup("board").Error("two\nlines", slog.String(odd, strings.Repeat("ü", maxField)))
	got := receive(t, conn)
	if got["PRIORITY"] != "3" || !strings.HasPrefix(got["MESSAGE"], "two\nlines") || len(got) != 5 {
		t.Errorf("%.200v", got)
	}
	if v := got["PICLOUD_BOARD_ODD_N_ME__"]; len(v) > maxField+10 || !strings.HasSuffix(v, "ü …") {
		t.Errorf("%d bytes", len(v))
	}
	for level, want := range map[slog.Level]journal.Priority{slog.LevelDebug: 7, slog.LevelInfo: 6, slog.LevelWarn: 4, slog.LevelError: 3, slog.LevelError + 4: 3} {
		if got := priority(level); got != want {
			t.Errorf("%v is %d", level, got)
		}
	}
}

// A journal that hangs holds up no part of the node; what it missed is counted.
func TestJournalThatHangsStopsNothing(t *testing.T) {
	t.Parallel()
	log, conn := journalOf(t)
	j := log.Handler().(*journalHandler).journal
	sent := 0
	for ; j.dropped < 3; sent++ { // a log that waits would not come to an end
		log.Info("entry")
	}
	for range sent - 3 {
		if got := receive(t, conn); got["PRIORITY"] != "6" {
			t.Fatal(got)
		}
	}
	log.Info("the journal is back")
	if got := receive(t, conn); got["MESSAGE"] != "3 entries were dropped because the journal took none" {
		t.Error(got)
	}
	if got := receive(t, conn); got["MESSAGE"] != "the journal is back" {
		t.Error(got)
	}
}
