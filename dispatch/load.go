package dispatch

import (
	"sync"
	"sync/atomic"
)

// What all queues together hold in memory.
const (
	maxLoad    = 8 << 20 // bytes of data of deliveries that run, beyond one for each trigger
	maxHeld    = 10_000  // deliveries that a queue knows, without their data
	maxHeldAll = 200_000 // deliveries that all queues know, beyond minHeld for each
	minHeld    = 256
)

// load bounds what all queues together hold in memory. A trigger may always run one
// delivery and know minHeld of them, so that none waits for another for ever.
type load struct {
	held atomic.Int64 // deliveries that queues know

	mu     sync.Mutex // guards what follows
	bytes  int        // data of the deliveries that run
	denied map[*queue]struct{}
}

// room reports whether a queue that knows n deliveries may take in more.
func (l *load) room(n int) bool {
	return n < minHeld || n < maxHeld && l.held.Load() < maxHeldAll
}

// admits reports whether a queue in which some deliveries run may begin another one. A
// queue that was denied that is nudged when it may.
func (l *load) admits(q *queue, running int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if running == 0 || l.bytes < maxLoad {
		return true
	}
	if l.denied == nil {
		l.denied = map[*queue]struct{}{}
	}
	l.denied[q] = struct{}{}
	return false
}

// begin counts the data of a delivery that begins to run.
func (l *load) begin(bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += bytes
}

// end gives back what begin has counted.
func (l *load) end(bytes int) {
	l.mu.Lock()
	l.bytes -= bytes
	var denied map[*queue]struct{}
	if l.bytes < maxLoad {
		denied, l.denied = l.denied, nil
	}
	l.mu.Unlock()
	for q := range denied {
		q.nudge()
	}
}

// bytesNow returns how much data the deliveries hold that run.
func (l *load) bytesNow() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}
