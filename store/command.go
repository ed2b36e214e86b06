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
	app         string             // whose line it waits in; empty: that of the node
	size        int64              // bytes of data it holds in the intake
	soft        bool               // what fn stages need not be fsynced before it is answered

	events []picloud.Event // the answer to a publication
	blobs  []string        // contents of files that no row names after the commit
	err    error
	done   chan struct{} // receives once when answered
	next   *command      // in its line
}

func (s *Store) newCommand() *command {
	if c, ok := s.commands.Get().(*command); ok {
		return c
	}
	return &command{done: make(chan struct{}, 1)}
}

// release gives c back. Only for a caller that has received from done: otherwise the
// committer may still hold it.
func (s *Store) release(c *command) {
	*c = command{done: c.done}
	s.commands.Put(c)
}

// ask runs fn in the committer, in the turn of an app, and returns its answer once what
// fn staged is durable. fn stages about size bytes, which count against the intake; 0 is
// for small changes, which a full disk does not refuse.
//
// When ctx ends first, or the store does, the answer is the zero value: the real
// one belongs to the committer, and what fn stages may still happen.
func ask[T any](ctx context.Context, s *Store, app string, size int, fn func(tx *tx) (T, error)) (T, error) {
	var answer, none T
	c := s.newCommand()
	c.app, c.size = app, int64(size)
	c.fn = func(tx *tx) (err error) {
		answer, err = fn(tx)
		return err
	}
	if err := s.submit(ctx, c); err != nil {
		return none, err
	}
	s.blobs.remove(c.blobs...)
	s.release(c)
	return answer, nil
}

// do is ask for a small change without an answer.
func (s *Store) do(ctx context.Context, app string, fn func(tx *tx) error) error {
	return s.doSized(ctx, app, 0, fn)
}

// doSized is ask for a change without an answer.
func (s *Store) doSized(ctx context.Context, app string, size int, fn func(tx *tx) error) error {
	_, err := ask(ctx, s, app, size, func(tx *tx) (struct{}, error) { return struct{}{}, fn(tx) })
	return err
}

// untilDone asks for a part of a large change at a time, as long as there is more.
func (s *Store) untilDone(ctx context.Context, app string, part func(tx *tx) (more bool, err error)) error {
	for {
		if more, err := ask(ctx, s, app, 0, part); err != nil || !more {
			return err
		}
	}
}

// doSoft runs fn in the committer and waits until what it staged is visible. It is
// durable soon after, without a commit of its own.
func (s *Store) doSoft(ctx context.Context, app string, fn func(tx *tx) error) error {
	c := s.newCommand()
	c.app, c.fn, c.soft = app, fn, true
	return s.submit(ctx, c)
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
	if err := s.intake.put(c); err != nil {
		s.metrics.refused.Inc()
		return err
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
