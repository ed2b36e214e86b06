//go:build hang

package daemon

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// clockOf returns the clock of a part, which stops for good, and the part with it, once
// there is a file hang-PART in the directory that systemd made for the process. The clock
// removes the file, so that the next process goes on. `make appliance` lets the parts of
// its binary hang by that; no other binary has it.
func clockOf(part string, now func() time.Time) func() time.Time {
	file := filepath.Join(os.Getenv("RUNTIME_DIRECTORY"), "hang-"+part)
	var stopped atomic.Bool
	return func() time.Time {
		if stopped.Load() || os.Remove(file) == nil {
			stopped.Store(true)
			select {}
		}
		return now()
	}
}
