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

	// firstDraw is what a delivery draws before its data is read. One that turns out to need
	// more than there is room for is put back, and draws all of it the next time; one at a
	// time goes ahead beside the share, so that small ones cannot hold it up for ever.
	firstDraw = 64 << 10
)

// load bounds what all queues together hold in memory: the data of deliveries that run,
// by the node's budget, and the deliveries that queues know.
type load struct {
	held   atomic.Int64 // deliveries that queues know
	budget *budget.Budget

	mu     sync.Mutex // guards what follows
	denied map[*queue]struct{}
	beside *budget.Lease // of the delivery that runs beside the share; nil: none
}

// room reports whether a queue that knows n deliveries may take in more.
func (l *load) room(n int) bool {
	return n < minHeld || n < maxHeld && l.held.Load() < maxHeldAll
}

// lease returns a lease for the memory of a delivery of an app.
func (l *load) lease(app string) budget.Lease {
	return l.budget.Lease(budget.Deliveries, budget.Party{App: app})
}

// admits makes a lease so many bytes, or gives back what it has. A queue that was denied
// that is nudged when another delivery has ended: there always is one, as an idle share has
// room. The lease that end gets is the same.
func (l *load) admits(q *queue, lease *budget.Lease, bytes int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.beside == lease || lease.Try(bytes) {
		return true
	}
	lease.Release()
	if bytes > firstDraw && l.beside == nil {
		l.beside = lease
		return true
	}
	if l.denied == nil {
		l.denied = map[*queue]struct{}{}
	}
	l.denied[q] = struct{}{}
	return false
}

// end gives back the memory of a delivery.
func (l *load) end(lease *budget.Lease) {
	l.mu.Lock()
	lease.Release()
	if l.beside == lease {
		l.beside = nil
	}
	denied := l.denied
	l.denied = nil
	l.mu.Unlock()
	for q := range denied {
		q.nudge()
	}
}
