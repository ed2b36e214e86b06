package store

import (
	"maps"
	"sync"
)

// pending counts the deliveries of each trigger that are not done. The tables count
// what changes in them; any goroutine may read.
type pending struct {
	limit int // of the positions of a trigger

	mu       sync.Mutex              // guards what follows
	triggers map[string]pendingCount // by id; none of zero
	total    int                     // positions of all triggers
	over     map[string]string       // ids and apps of triggers that came to the limit
}

// maxWaiting is how many positions a trigger may have. From then on its deliveries wait
// in the journal. All triggers together may have sharedWaiting times as many; when they
// do, those that have more than a tenth of their own share wait there as well.
const (
	maxWaiting    = 10_000
	sharedWaiting = 20
)

// pendingCount counts the deliveries of a trigger.
type pendingCount struct {
	app     string
	waiting int // positions
	kept    int // deliveries that hold their data
	tried   int // deliveries with failed attempts
}

// in returns the count of a table.
func (c *pendingCount) in(tb table) *int {
	switch tb {
	case tableWaiting:
		return &c.waiting
	case tableDelivery:
		return &c.kept
	default:
		return &c.tried
	}
}

func newPending(limit int) *pending {
	return &pending{limit: limit, triggers: map[string]pendingCount{}, over: map[string]string{}}
}

// counts reports whether rows of a table are counted.
func (p *pending) counts(tb table) bool {
	return tb == tableWaiting || tb == tableDelivery || tb == tableAttempt
}

// add counts n rows of a table whose keys are of one trigger.
func (p *pending) add(tb table, key string, n int) {
	app, id, ok := deliveryTrigger(key)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.triggers[id]
	c.app = app
	*c.in(tb) += n
	if tb == tableWaiting {
		p.total += n
	}
	if n > 0 && tb == tableWaiting && p.isOver(c.waiting) {
		p.over[id] = app
	}
	if c.waiting == 0 && c.kept == 0 && c.tried == 0 {
		delete(p.triggers, id)
	} else {
		p.triggers[id] = c
	}
}

// isOver reports whether a trigger with n positions may not have more. The caller holds
// mu.
func (p *pending) isOver(n int) bool {
	return n >= p.limit || p.total >= sharedWaiting*p.limit && n >= p.limit/10
}

// overfull returns the triggers that may not have more positions, ids and apps. Each is
// returned once, until it gets another one.
func (p *pending) overfull() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.over) == 0 {
		return nil
	}
	over := p.over
	p.over = map[string]string{}
	maps.DeleteFunc(over, func(id, _ string) bool { return !p.isOver(p.triggers[id].waiting) })
	return over
}

// hasRoom reports whether a trigger may get the positions of another step.
func (p *pending) hasRoom(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.isOver(p.triggers[id].waiting + p.step())
}

// step is how many positions a trigger that is behind gets at once.
func (p *pending) step() int { return max(1, p.limit/10) }

// all returns the counts of all triggers that have any, by id.
func (p *pending) all() map[string]pendingCount {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.triggers)
}

// any reports whether a trigger has rows in a table, by the key of one.
func (p *pending) any(tb table, key string) bool {
	_, id, _ := deliveryTrigger(key)
	c := p.of(id)
	return *c.in(tb) > 0
}

// of returns the counts of a trigger, by its id.
func (p *pending) of(id string) pendingCount {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.triggers[id]
}

// waiting returns how many positions all triggers together have.
func (p *pending) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}
