//go:build hang

package daemon

import (
	"os"
	"path/filepath"
	"sync/atomic"
)

// hangable returns f, which a part calls as it goes round. It stops for good, and the part
// with it, once there is a file hang-PART in the directory that systemd made for the
// process; it removes the file, so that the next process goes on. `make appliance` lets
// the parts of its binary hang by that; no other binary has it.
func hangable[T any](part string, f func() T) func() T {
	file := filepath.Join(os.Getenv("RUNTIME_DIRECTORY"), "hang-"+part)
	var stopped atomic.Bool
	return func() T {
		if stopped.Load() || os.Remove(file) == nil {
			stopped.Store(true)
			select {}
		}
		return f()
	}
}
