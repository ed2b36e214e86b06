package daemon

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How a long start is told to systemd. A start that does not come forward for extendBy runs
// into TimeoutStartSec=.
const (
	extendEvery = 10 * time.Second
	extendBy    = time.Minute
	leastWork   = 50 * time.Millisecond // of the processor in extendEvery: the runtime alone takes less
)

// extendStart asks systemd for more time while the node starts, as long as that comes
// forward, which it looks at at intervals. It returns the function that ends it.
func extendStart(every time.Duration, worked func() work) (done func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	began, last := time.Now(), worked()
	notify(saysStatus("Starting: reading the data directory"))
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-end:
				return
			}
			now := worked()
			if now.since(last) {
				notify(saysExtend(extendBy), saysStatus(fmt.Sprintf("Starting: reading the data directory for %s", roughly(time.Since(began)))))
			}
			last = now
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// work is what a process has done since it began, and what the disk has done on which it
// waits: a sync of much data on a slow card takes minutes in which the process does nothing.
type work struct {
	cpu    time.Duration
	blocks int64 // read from disks and written to them, as far as the process itself did it
	waits  bool  // for a disk, right now
	disk   int64 // requests that the disk of the data directory has completed, for all processes
}

// workOn returns a function that looks at the work of this process, whose data are in dir.
func workOn(dir string) func() work {
	stat := diskStat(dir)
	return func() work {
		var u unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // never fails for the process itself
		return work{
			cpu:    time.Duration(u.Utime.Nano() + u.Stime.Nano()),
			blocks: int64(u.Inblock) + int64(u.Oublock), //nolint:unconvert // their type differs between boards
			waits:  waitsForDisk(), disk: completed(stat),
		}
	}
}

// since reports whether there was progress since an earlier look. A disk that others use
// counts only while the process waits for it.
func (w work) since(before work) bool {
	return w.blocks > before.blocks || w.cpu-before.cpu >= leastWork || w.waits && w.disk > before.disk
}

// diskStat returns the file with the figures of the disk that dir is on, or will be when it
// is made. Not every file system has such a disk, and so not every name leads to a file.
func diskStat(dir string) string {
	var st unix.Stat_t
	for unix.Stat(dir, &st) != nil && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
	}
	return fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev))) //nolint:unconvert // as above
}

// completed returns how many requests of reading and writing a disk has completed; 0 when
// that is unknown. See Documentation/block/stat.rst of the kernel.
func completed(stat string) int64 {
	b, _ := os.ReadFile(stat)
	fields := strings.Fields(string(b))
	if len(fields) < 5 {
		return 0
	}
	reads, _ := strconv.ParseInt(fields[0], 10, 64)
	writes, _ := strconv.ParseInt(fields[4], 10, 64)
	return reads + writes
}

// waitsForDisk reports whether a thread of the process is in uninterruptible sleep.
func waitsForDisk() bool {
	threads, _ := filepath.Glob("/proc/self/task/*/stat")
	for _, thread := range threads {
		b, _ := os.ReadFile(thread)
		if _, after, _ := bytes.Cut(b, []byte(") ")); len(after) > 0 && after[0] == 'D' { // no name of our threads has a parenthesis
			return true
		}
	}
	return false
}

// roughly is a duration for people.
func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
