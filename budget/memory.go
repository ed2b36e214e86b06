package budget

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	least = 16 << 20 // bytes of a budget, however little memory there is
	most  = 256 << 20
)

// Default returns the bytes of a budget that nothing was said about: an eighth of the
// memory.
func Default() int {
	return int(min(max(Memory()/8, least), most)) // #nosec G115 -- bounded
}

// Memory returns the bytes of memory that this process may have: those of the board, or
// less where a control group or a resource limit says so. A board that does not tell has
// 512 MiB.
func Memory() uint64 {
	n := uint64(512 << 20)
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		n = uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // 32 bits on some boards
	}
	for _, resource := range []int{unix.RLIMIT_DATA, unix.RLIMIT_AS} {
		var limit unix.Rlimit
		if unix.Getrlimit(resource, &limit) == nil && limit.Cur > 0 {
			n = min(n, limit.Cur)
		}
	}
	return min(n, groupLimit("/sys/fs/cgroup", "/proc/self/cgroup"))
}

// groupLimit returns the smallest limit of memory of the control groups (version 2) that
// the process is in.
func groupLimit(root, self string) uint64 {
	limit := uint64(math.MaxUint64)
	text, err := os.ReadFile(self) // #nosec G304 -- the kernel's
	if err != nil {
		return limit
	}
	group, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "0::/")
	if !ok {
		return limit
	}
	for dir := filepath.Join(root, group); ; dir = filepath.Dir(dir) {
		for _, name := range []string{"memory.max", "memory.high"} {
			text, err := os.ReadFile(filepath.Join(dir, name)) // #nosec G304 G703 -- as above
			if n, parseErr := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && parseErr == nil {
				limit = min(limit, n) // "max" is no number
			}
		}
		if len(dir) <= len(root) {
			return limit
		}
	}
}
