package script

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A script's own time is that of the processor, so that a machine that is busy with
// something else takes nothing from it. How long a run takes by the clock on the
// wall is bounded by Limits.Total.

// ownTime is the processor time that this process has used.
func ownTime() time.Duration {
	d, _ := clockTime(unix.CLOCK_PROCESS_CPUTIME_ID) // never fails
	return d
}

// timeOf is the processor time that another process has used. It fails when that has
// gone.
func timeOf(pid int) (time.Duration, error) {
	const scheduled = 2                          // CPUCLOCK_SCHED of clock_getcpuclockid(3)
	return clockTime(int32(^pid)<<3 | scheduled) // #nosec G115 -- how a process is made a clock
}

func clockTime(clock int32) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("read a clock: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// whenOver calls fn when a clock has come to a time, and again and again after that
// until stop is called. The clock is looked at no earlier than it can be over.
func whenOver(over time.Duration, clock func() time.Duration, fn func()) (stop func()) {
	const again = 10 * time.Millisecond
	var t *time.Timer
	t = time.AfterFunc(time.Hour, func() {
		left := over - clock()
		if left <= 0 {
			fn()
			left = again
		}
		t.Reset(max(left, time.Millisecond))
	})
	t.Reset(max(over-clock(), 0))
	return func() { t.Stop() }
}
