package store

import (
	"context"

	"github.com/picloud/picloud"
)

// command is one request to the committer: a publication, or a function that
// looks and stages in its goroutine.
type command struct {
	publication picloud.Publication
	print       fingerprint
	fn          func(tx *tx) error // nil: a publication
	size        int64              // bytes of data it holds in the intake
	hops        int                // see picloud.WithHops
	soft        bool               // what fn stages need not be fsynced before it is answered

	events []picloud.Event // the answer to a publication
	err    error
	done   chan struct{} // receives once when answered
}

func (s *Store) newCommand() *command {
	if c, ok := s.commands.Get().(*command); ok {
		return c
	}
	return &command{done: make(chan struct{}, 1)}
}

// release gives c back. Only for whoever has received from done: otherwise the
// committer may still hold it.
func (s *Store) release(c *command) {
	*c = command{done: c.done}
	s.commands.Put(c)
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
	c.hops = picloud.Hops(ctx)
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
