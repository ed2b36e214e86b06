package daemon

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// What systemd is told, see sd_notify(3). WATCHDOG=trigger is never sent.
const (
	saysReady    = sd.SdNotifyReady
	saysStopping = sd.SdNotifyStopping
	saysAlive    = sd.SdNotifyWatchdog
)

// maxStatus bounds STATUS= in bytes: systemctl shows it on one line.
const maxStatus = 500

// noticePatience bounds the time in which systemd takes a message. One that takes none must not hold
// up the node, which is about to serve or to stop.
const noticePatience = 2 * time.Second

// notify sends assignments to systemd in one message, when it runs us.
func notify(assignments ...string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return // there is nothing to tell it to
	}
	_ = conn.SetWriteDeadline(time.Now().Add(noticePatience))
	_, _ = conn.Write([]byte(strings.Join(assignments, "\n"))) // a message that is lost is worth less than the node
	_ = conn.Close()
}

// saysStatus returns the assignment of STATUS=. A line break in text would begin another
// assignment: it becomes a blank.
func saysStatus(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' }), " ")
	if len(text) > maxStatus {
		cut := maxStatus
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + " …"
	}
	return "STATUS=" + text
}

// saysReloading returns the assignments that begin a reload, which saysReady ends.
// systemd 253 and newer compare the time with that of their own request.
func saysReloading() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // never fails for this clock
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", sd.SdNotifyReloading, now.Nano()/1000)
}

// saysExtend returns the assignment that gives a start d more, from now on.
func saysExtend(d time.Duration) string {
	return fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", d.Microseconds())
}
