package daemon

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/store"
)

// Values of the setting clock.
const (
	clockAuto    = "auto"
	clockKernel  = "kernel"
	clockTrusted = "trusted"
)

// boardClock returns how to find out whether the clock can be believed; nil: it
// always can.
func boardClock(setting string) func() store.Clock {
	if setting == clockTrusted || setting == clockAuto && !forgetsTime() {
		return nil
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without one all starts look like one
	name := strings.TrimSpace(string(boot))
	return func() store.Clock {
		c := store.Clock{Boot: name}
		var t unix.Timex
		_, err := unix.Adjtimex(&t)
		c.Synced = err == nil && t.Status&unix.STA_UNSYNC == 0
		var up unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) == nil {
			c.Uptime = time.Duration(up.Nano())
		}
		return c
	}
}

// forgetsTime reports whether this is a board that starts without knowing the
// time: it has a device tree, and no clock of its own from which the kernel was
// set. Whatever else this runs on knows the time from its hardware or its host.
func forgetsTime() bool {
	if _, err := os.Stat("/proc/device-tree/model"); err != nil {
		return false
	}
	set, err := os.ReadFile("/sys/class/rtc/rtc0/hctosys")
	return err != nil || strings.TrimSpace(string(set)) != "1"
}
