//go:build !race

package realtime

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxRaw is the largest write that bypasses the scheduler. Until it returns, the
// goroutine cannot be stopped for the garbage collector, which all others then wait
// for: 16 KiB are copied and sent in some ten microseconds, on the smallest board in
// less than a millisecond. What a larger write takes leaves the scheduler's part small.
const maxRaw = 16 << 10

// writeSocket is write(2) on a socket that does not block.
//
// unix.Write tells Go's scheduler before and after each call that the thread may
// block, which is a few percent of a delivery. These sockets are non-blocking (takeSocket):
// the kernel takes what has room in the socket's buffer and returns, or returns EAGAIN,
// and never sleeps until there is room. So the call is made without the scheduler, like
// any other function: a signal does not end it early, and one for preemption takes
// effect when it has returned. Memory of Go does not move, and b is held until then.
func writeSocket(fd int, b []byte) (int, error) {
	if len(b) == 0 || len(b) > maxRaw {
		return unix.Write(fd, b)
	}
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b))) // #nosec G103 -- for the kernel
	runtime.KeepAlive(b)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil // #nosec G115 -- at most len(b)
}
