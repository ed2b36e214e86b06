package dispatch

import (
	"sync"
	"sync/atomic"

	"github.com/picloud/picloud/budget"
)

// What all queues together hold in memory.
const (
	maxHeld    = 10_000  // deliveries that a queue knows, without their data
	maxHeldAll = 200_000 // deliveries that all queues know, beyond minHeld for each
	minHeld    = 256

	// firstDraw is what a delivery draws before its data is read. Its data may be more: then
	// the share is overdrawn, and the next one waits for longer.
	firstDraw = 64 << 10
)

// load bounds what all queues together hold in memory: the data of deliveries that run,
// by the node's budget, and the deliveries that queues know.
type load struct {
	held   atomic.Int64 // deliveries that queues know
	budget *budget.Budget

	mu     sync.Mutex // guards what follows
	denied map[*queue]struct{}
}

// room reports whether a queue that knows n deliveries may take in more.
func (l *load) room(n int) bool {
	return n < minHeld || n < maxHeld && l.held.Load() < maxHeldAll
}

// admits draws the memory of a delivery that begins to run. A queue that was denied that is
// nudged when another one has ended: there always is one, as an idle share has room.
func (l *load) admits(q *queue, app string) (lease budget.Lease, ok bool) {
	lease = l.budget.Lease(budget.Deliveries, budget.Party{App: app})
	l.mu.Lock()
	defer l.mu.Unlock()
	if lease.Try(firstDraw) {
		return lease, true
	}
	if l.denied == nil {
		l.denied = map[*queue]struct{}{}
	}
	l.denied[q] = struct{}{}
	return lease, false
}

// end gives back the memory of a delivery.
func (l *load) end(lease *budget.Lease) {
	l.mu.Lock()
	lease.Release()
	denied := l.denied
	l.denied = nil
	l.mu.Unlock()
	for q := range denied {
		q.nudge()
	}
}
