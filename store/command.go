package store

import (
	"context"
	"sync"

	"github.com/picloud/picloud"
)

// command is one request to the committer: a publication, or a function that
// looks and stages in its goroutine.
type command struct {
	publication picloud.Publication
	print       fingerprint
	fn          func(tx *tx) error // nil: a publication
	size        int64              // bytes of data it holds in the intake

	events []picloud.Event // the answer to a publication
	err    error
	done   chan struct{} // receives once when answered
}

var commands = sync.Pool{New: func() any { return &command{done: make(chan struct{}, 1)} }}

func newCommand() *command {
	c, ok := commands.Get().(*command)
	if !ok {
		panic("store: foreign value in the pool of commands")
	}
	return c
}

// release gives c back. Only for whoever has received from done: otherwise the
// committer may still hold it.
func (c *command) release() {
	*c = command{done: c.done}
	commands.Put(c)
}

// submit hands c to the committer and waits for the answer. When ctx ends
// first, what c asks for may still happen.
func (s *Store) submit(ctx context.Context, c *command) error {
	if s.readOnly {
		return picloud.ErrReadOnly
	}
	if s.stopping.Load() {
		return picloud.ErrStopping
	}
	if s.queued.Add(c.size) > s.cfg.IntakeBytes && c.size > 0 {
		s.queued.Add(-c.size)
		s.metrics.refused.Inc()
		return picloud.ErrBusy
	}
	select {
	case s.intake <- c:
	default:
		s.queued.Add(-c.size)
		s.metrics.refused.Inc()
		return picloud.ErrBusy
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ended:
		select {
		case <-c.done: // answered with the last group
		default:
			return picloud.ErrStopping
		}
	}
	return c.err
}

// answer ends c. The committer must not touch it any more.
func (s *Store) answer(c *command, err error) {
	c.err = err
	c.done <- struct{}{} // has room: one answer per command
}
