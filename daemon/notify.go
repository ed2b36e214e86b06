package daemon

import (
	"context"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// notify tells systemd, when it runs us.
func notify(state string) {
	_, _ = sd.SdNotify(false, state) // without systemd there is nobody to tell
}

// watchdog tells systemd that the node is alive, while it is.
func watchdog(ctx context.Context, m *machine) error {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 { // a malformed request for a watchdog is none
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(interval / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if m.alive() == nil {
				notify("WATCHDOG=1")
			}
		case <-ctx.Done():
			return nil
		}
	}
}
