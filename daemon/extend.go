package daemon

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// How a long start is told to systemd. A part of a start that neither computes nor reads
// for extendBy runs into TimeoutStartSec=.
const (
	extendEvery = 10 * time.Second
	extendBy    = time.Minute
	leastWork   = 50 * time.Millisecond // of the processor in extendEvery: the runtime alone takes less
)

// extendStart asks systemd for more time while the node opens its data directory, as long
// as that comes forward, which it looks at at intervals. It returns the function that ends
// it.
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
			if now := worked(); now.since(last) {
				last = now
				notify(saysExtend(extendBy), saysStatus(fmt.Sprintf("Starting: reading the data directory for %s", roughly(time.Since(began)))))
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// work is what the process has done since it began.
type work struct {
	cpu    time.Duration
	blocks int64 // read from disks and written to them
}

func worked() work {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)                                                         // never fails for the process itself
	return work{time.Duration(u.Utime.Nano() + u.Stime.Nano()), int64(u.Inblock) + int64(u.Oublock)} //nolint:unconvert // their type differs between boards
}

// since reports whether there was progress since an earlier look.
func (w work) since(before work) bool {
	return w.blocks > before.blocks || w.cpu-before.cpu >= leastWork
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
