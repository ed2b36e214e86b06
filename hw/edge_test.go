package hw

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelNow is what the kernel writes as the time of an edge.
func kernelNow(tb testing.TB) uint64 {
	tb.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		tb.Fatal(err)
	}
	return uint64(ts.Nano())
}

// kernelEdge is an edge in the bytes of the kernel.
func kernelEdge(at uint64, on bool, seqno uint32) []byte {
	e := unix.GPIOV2LineEvent{Timestamp_ns: at, Id: unix.GPIO_V2_LINE_EVENT_FALLING_EDGE, Line_seqno: seqno, Seqno: seqno}
	if on {
		e.Id = unix.GPIO_V2_LINE_EVENT_RISING_EDGE
	}
	b := make([]byte, unsafe.Sizeof(e))
	if _, err := binary.Encode(b, binary.NativeEndian, struct {
		At                           uint64
		ID, Offset, Seqno, LineSeqno uint32
		_                            [6]uint32
	}{e.Timestamp_ns, e.Id, e.Offset, e.Seqno, e.Line_seqno, [6]uint32{}}); err != nil {
		panic(err) // of a fixed size
	}
	return b
}

// fed returns a line whose edges are written into a pipe, as the kernel would have them.
func fed(tb testing.TB) (*kernelInput, *os.File) {
	tb.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		tb.Fatal(err)
	}
	r, w := os.NewFile(uintptr(fds[0]), "line"), os.NewFile(uintptr(fds[1]), "kernel")
	tb.Cleanup(func() { _ = w.Close() }) // may be closed
	return newKernelInput(r), w
}

// HW-2: the kernel's edges are read with their times, levels and losses; closing the line
// ends the reading, and so does the end of what it is read from.
func TestEdgesOfTheKernelAreRead(t *testing.T) {
	t.Parallel()
	l, kernel := fed(t)
	now, began := kernelNow(t), time.Now()
	var b []byte
	for i, seqno := range []uint32{1, 2, 7, 8} {
		b = append(b, kernelEdge(now+uint64(i)*1e6, i%2 == 0, seqno)...)
	}
	if _, err := kernel.Write(b); err != nil {
		t.Fatal(err)
	}
	list, err := l.edges(make([]edge, 0, 3)) // no more than there is room for
	if err != nil || len(list) != 3 {
		t.Fatalf("%v, %v", list, err)
	}
	rest, err := l.edges(make([]edge, 0, 3))
	list = append(list, rest...)
	if err != nil || len(list) != 4 {
		t.Fatalf("%v, %v", list, err)
	}
	for i, e := range list {
		want := edge{at: began.Add(time.Duration(i) * time.Millisecond), on: i%2 == 0, missed: []int{0, 0, 4, 0}[i]}
		if off := e.at.Sub(want.at).Abs(); off > time.Millisecond/2 || e.on != want.on || e.missed != want.missed {
			t.Errorf("edge %d: %+v, %v off, want %+v", i, e, off, want)
		}
	}

	ended := make(chan error, 1)
	go func() {
		_, err := l.edges(make([]edge, 0, 1))
		ended <- err
	}()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !closedHere(err) {
		t.Errorf("closed while it was read: %v", err)
	}
	l, kernel = fed(t)
	if err := kernel.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.edges(make([]edge, 0, 1)); err == nil || closedHere(err) {
		t.Errorf("at the end: %v", err)
	}
}

// Edges are counted over the end of the kernel's numbers, and a part of one is a fault.
func TestNumbersOfEdgesWrapAround(t *testing.T) {
	t.Parallel()
	l, kernel := fed(t)
	l.seqno = math.MaxUint32 - 1
	at := kernelNow(t)
	if _, err := kernel.Write(append(kernelEdge(at, true, math.MaxUint32), kernelEdge(at, false, 3)...)); err != nil {
		t.Fatal(err)
	}
	if list, err := l.edges(make([]edge, 0, 8)); err != nil || len(list) != 2 || list[0].missed != 0 || list[1].missed != 3 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := kernel.Write(kernelEdge(at, true, 4)[:20]); err != nil {
		t.Fatal(err)
	}
	if _, err := l.edges(make([]edge, 0, 8)); !errors.Is(err, errShortEdge) {
		t.Error(err)
	}
}

// The wall clock of an edge is the one that is set now, however it was set then.
func TestWallClockOfAnEdge(t *testing.T) {
	t.Parallel()
	c := newKernelClock()
	at := c.time(kernelNow(t))
	if off := time.Since(wall(at)).Abs(); off > time.Second {
		t.Errorf("%v off", off)
	}
}

// Without a chip that can be seen nothing is said of lines: the configuration may be that
// of another machine.
func TestLinesOfAnotherMachine(t *testing.T) {
	t.Parallel()
	if faults, err := (kernel{dev: t.TempDir()}).check([]PinConfig{{Line: "GPIO1"}}); !errors.Is(err, ErrLinesUnknown) || faults != nil {
		t.Errorf("%v, %v", faults, err)
	}
}
