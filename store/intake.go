package store

import (
	"sync"

	"github.com/picloud/picloud"
)

// intake is where commands wait for the committer: in a line per app, from which they
// are taken in turns, so that an app that writes much lets no other app wait. The
// turns are deficit round robin (Shreedhar and Varghese, 1995): in each a line gives
// commands of turnBytes, or saves up for a larger one. An app that greedy ones have come
// before finds room all the same: each may have as much waiting as remains free, so that
// n of them leave 1/(n+1). It is safe for concurrent use; the committer alone takes.
type intake struct {
	maxCommands int
	maxBytes    int64

	mu       sync.Mutex
	first    *line // of those with commands: has its turn; nil: nothing waits
	last     *line
	spare    *line // for the next app
	commands int
	bytes    int64
	idle     bool // the committer waits for come

	come chan struct{} // receives when a command has come to an idle committer
}

// line is what of an app waits, in order.
type line struct {
	app         string // or configOf it
	next        *line
	first, last *command
	commands    int
	bytes       int64
	saved       int64 // what it may give in this turn
}

// turnBytes is what a line gives in a turn: much more than a small command has.
const turnBytes = 16 << 10

// cost is what a command takes of a turn. Those that store nothing keep the committer
// busy, too.
func (c *command) cost() int64 { return max(c.size, 512) }

// configOf names the line of what configures an app: who mends one need not wait behind
// what floods it.
func configOf(app string) string { return app + "\x00" }

func newIntake(commands int, bytes int64) *intake {
	return &intake{maxCommands: commands, maxBytes: bytes, idle: true, come: make(chan struct{}, 1)}
}

// put lets c wait in the line of its app. It is picloud.ErrBusy when that has as much
// waiting as it may.
func (q *intake) put(c *command) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.first
	for l != nil && l.app != c.app { // few apps have commands at one moment
		l = l.next
	}
	var commands int
	var bytes int64
	if l != nil {
		commands, bytes = l.commands, l.bytes
	}
	if commands >= q.maxCommands-q.commands || c.size > 0 && bytes+c.size > q.maxBytes-q.bytes {
		return picloud.ErrBusy
	}
	if l == nil {
		l = q.begin(c.app)
	}
	if l.first == nil {
		l.first = c
	} else {
		l.last.next = c
	}
	l.last = c
	l.commands, l.bytes = l.commands+1, l.bytes+c.size
	q.commands, q.bytes = q.commands+1, q.bytes+c.size
	if q.idle {
		q.idle = false
		q.tell()
	}
	return nil
}

// begin makes a line. Its turn comes after those of all others, and lasts at once.
func (q *intake) begin(app string) *line {
	l := q.spare
	if q.spare = nil; l == nil {
		l = new(line)
	}
	l.app, l.saved = app, turnBytes
	q.enqueue(l)
	return l
}

func (q *intake) enqueue(l *line) {
	if l.next = nil; q.first == nil {
		q.first = l
	} else {
		q.last.next = l
	}
	q.last = l
}

// take returns the command whose turn it is; nil: none waits, and come will tell of the
// next.
func (q *intake) take() *command {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.first
	if l == nil {
		q.idle = true
		return nil
	}
	for l.next != nil && l.saved < l.first.cost() {
		l.saved += turnBytes
		q.first = l.next
		q.enqueue(l)
		l = q.first
	}
	c := l.first
	l.first, c.next = c.next, nil
	l.commands, l.bytes, l.saved = l.commands-1, l.bytes-c.size, max(l.saved-c.cost(), 0)
	q.commands, q.bytes = q.commands-1, q.bytes-c.size
	if l.first == nil {
		q.first = l.next
		*l = line{}
		q.spare = l
	}
	return c
}

// tell lets come receive.
func (q *intake) tell() {
	select {
	case q.come <- struct{}{}:
	default: // it will
	}
}

// waiting returns how many commands wait, and how many bytes they have.
func (q *intake) waiting() (commands int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.commands, q.bytes
}
