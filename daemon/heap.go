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
)

// giveBack returns memory to the board when the node has come to rest, until ctx ends. The
// runtime collects garbage by how much is allocated: a node that was busy and is
// idle would keep its memory for minutes.
func giveBack(ctx context.Context) error {
	tick := time.NewTicker(heapTick)
	defer tick.Stop()
	allocated, _ := heap()
	var left uint64
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now, resident := heap()
		if now-allocated < heapQuiet && resident > left+heapSlack {
			debug.FreeOSMemory()
			_, left = heap()
		}
		allocated = now
	}
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
