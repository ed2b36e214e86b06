package daemon

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	heapTick  = 10 * time.Second
	heapQuiet = 16 << 20 // bytes allocated between two looks, below which the node is at rest
	heapSlack = 8 << 20  // bytes more than after the last time, from which giving back is worth it
	heapRests = 3        // looks at a node that has come to rest, each of which gives back
)

// giveBack returns memory to the board when the node has come to rest, until ctx ends. The
// runtime collects garbage by how much is allocated: a node that was busy and is
// idle would keep its memory for minutes.
func giveBack(ctx context.Context) error {
	tick := time.NewTicker(heapTick)
	defer tick.Stop()
	var w heapWatch
	w.allocated, _ = heap()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if w.due(heap()) {
			debug.FreeOSMemory()
			_, w.left = heap()
		}
	}
}

// heapWatch says when memory is to be given back. The first looks after a busy time give
// back in any case: what that time has left behind, such as a backlog, goes bit by bit, and
// a heap that was full the last time would hide the rest of it.
type heapWatch struct {
	allocated uint64 // since the start, at the last look
	left      uint64 // bytes that the heap took when memory was given back last
	rests     int    // looks since the node was busy
}

// due takes what heap returns.
func (w *heapWatch) due(allocated, resident uint64) bool {
	quiet := allocated-w.allocated < heapQuiet
	w.allocated = allocated
	if !quiet {
		w.rests = 0
		return false
	}
	w.rests++
	return w.rests <= heapRests || resident > w.left+heapSlack
}

// heap returns how many bytes were allocated since the start, and how many the heap takes
// of the board.
func heap() (allocated, resident uint64) {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[1].Value.Uint64() + s[2].Value.Uint64() + s[3].Value.Uint64()
}
