package realtime

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// A write takes what has room, in order and whole, and never waits: a full socket and
// one whose other end is gone say so at once.
func TestWriteSocketNeverWaits(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 150, 16 << 10, 16<<10 + 1, 100_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Close(fds[0]) }()
			b := make([]byte, size)
			for i := range b {
				b[i] = byte(i * 7)
			}
			var sent []byte
			for {
				n, err := writeSocket(fds[0], b)
				if size == 0 && n == 0 && err == nil {
					break
				}
				if errors.Is(err, unix.EAGAIN) {
					break
				}
				if err != nil || n < 1 {
					t.Fatal(n, err)
				}
				sent = append(sent, b[:n]...)
			}
			got := make([]byte, len(sent)+1)
			for n := 0; n < len(sent); {
				k, err := unix.Read(fds[1], got[n:])
				if err != nil || k < 1 {
					t.Fatal(k, err)
				}
				n += k
			}
			if !bytes.Equal(got[:len(sent)], sent) {
				t.Error("other bytes arrived than were sent")
			}
			if err := unix.Close(fds[1]); err != nil {
				t.Fatal(err)
			}
			if _, err := writeSocket(fds[0], b); size > 0 && !errors.Is(err, unix.EPIPE) {
				t.Errorf("after the other end has gone: %v", err)
			}
		})
	}
}
