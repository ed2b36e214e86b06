package realtime

import (
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/budget"
)

const (
	perSubscriber = 16 << 10 // memory a stream may take, kernel's buffers included
	keepFiles     = 256      // descriptors that are left to everything else
)

// defaultSubscribers returns how many streams fit: an eighth of the board's
// memory, and the descriptors this process may have.
func defaultSubscribers() int {
	n := budget.Memory() / 8 / perSubscriber
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil && files.Cur > keepFiles {
		n = min(n, files.Cur-keepFiles)
	}
	return int(max(min(n, 1_000_000), 64)) // #nosec G115 -- bounded
}
