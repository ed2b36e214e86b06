package hw

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// edge is one change of a line, as the kernel has seen it.
type edge struct {
	at     time.Time // with a reading of the monotonic clock, by which times are compared
	on     bool      // the level after it
	missed int       // edges before it that were lost
}

// edgeLine is a line that tells its edges.
type edgeLine interface {
	line
	// edges waits for edges and appends them to a list, up to its capacity. It returns an
	// error when the line is gone, or closed by another goroutine.
	edges(list []edge) ([]edge, error)
}

// Flags of a line that tells its edges (enum gpio_v2_line_flag in linux/gpio.h).
const (
	flagEdgeRising  = 1 << 4
	flagEdgeFalling = 1 << 5
)

// kernelQueue is how many edges the kernel keeps of a line until they are read, at 48
// bytes each: 50 ms of 10 000 edges a second. When there are more it drops the oldest.
const kernelQueue = 512

// readEdges is how many edges are read at once.
const readEdges = 64

// kernelClock relates the clock of the kernel's edges, CLOCK_MONOTONIC, to that of this
// process, which is the same with another beginning.
type kernelClock struct {
	base time.Time
	nsec int64 // of CLOCK_MONOTONIC, at base
}

func newKernelClock() kernelClock {
	var best kernelClock
	shortest := time.Duration(1<<63 - 1)
	for range 8 { // one of them is not interrupted
		before := time.Now()
		var ts unix.Timespec
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
			continue // every kernel has it
		}
		if took := time.Since(before); took < shortest {
			shortest, best = took, kernelClock{base: before.Add(took / 2), nsec: ts.Nano()}
		}
	}
	return best
}

// time returns when the kernel's clock showed nsec. Only differences to other times of
// this process are to be used: the wall clock may have been set since.
func (c kernelClock) time(nsec uint64) time.Time {
	return c.base.Add(time.Duration(int64(nsec) - c.nsec)) // #nosec G115 -- nanoseconds since the start of the kernel
}

// wall returns when a moment in the past was, by the clock as it is set now.
func wall(at time.Time) time.Time {
	now := time.Now()
	return now.Add(at.Sub(now)).UTC()
}

// kernelEdges reads the edges of a line from its descriptor.
type kernelEdges struct {
	f     *os.File
	clock kernelClock
	seqno uint32 // of the last edge of the line; the first has 1
	raw   [readEdges]unix.GPIOV2LineEvent
}

// read appends edges to a list, up to its capacity: at least one, unless it fails.
func (k *kernelEdges) read(list []edge) ([]edge, error) {
	const size = int(unsafe.Sizeof(unix.GPIOV2LineEvent{}))
	room := min(cap(list)-len(list), len(k.raw))
	b := unsafe.Slice((*byte)(unsafe.Pointer(&k.raw)), room*size) // #nosec G103 -- the kernel's structures, as golang.org/x/sys has them
	n, err := k.f.Read(b)
	if err != nil {
		return list, err
	}
	if n%size != 0 {
		return list, errShortEdge
	}
	for i := range n / size {
		e := &k.raw[i]
		list = append(list, edge{at: k.clock.time(e.Timestamp_ns), on: e.Id == unix.GPIO_V2_LINE_EVENT_RISING_EDGE, missed: int(e.Line_seqno - k.seqno - 1)})
		k.seqno = e.Line_seqno
	}
	return list, nil
}

var errShortEdge = errors.New("the kernel has given a part of an edge")

// closedHere reports whether reading edges ended because the line was closed here.
func closedHere(err error) bool { return errors.Is(err, os.ErrClosed) }
