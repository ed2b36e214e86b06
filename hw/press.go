package hw

import (
	"context"
	"time"

	"github.com/picloud/picloud/board"
)

// Press makes a simulated input see what a finger does, and returns when that is over or
// ctx has ended; the input is left as it was. It returns board.ErrPinNotFound,
// board.ErrPinOutput, board.ErrPinReal or board.ErrPressInvalid.
func (b *Board) Press(ctx context.Context, press board.Press) error {
	p, err := b.find(press.App, press.Name)
	if err != nil {
		return err
	}
	s, simulated := b.chips.(*sim)
	switch {
	case p.Output:
		return board.ErrPinOutput
	case !simulated:
		return board.ErrPinReal
	case press.On != nil:
		s.bounce(ctx, p, *press.On, 0)
		return nil
	case press.For < time.Millisecond || press.Times < 1 || press.Bounce < 0 || press.Bounce > press.For || press.For > board.MaxPress/time.Duration(2*press.Times):
		return board.ErrPressInvalid
	}
	defer s.bounce(context.WithoutCancel(ctx), p, false, 0)
	for range press.Times {
		for _, on := range []bool{true, false} {
			s.bounce(ctx, p, on, press.Bounce)
			if !pause(ctx, press.For-press.Bounce) {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// bouncePause is how long a simulated contact stays where it bounced to.
const bouncePause = time.Millisecond

// bounce makes an input on or off, after its contact has bounced for d.
func (s *sim) bounce(ctx context.Context, p *pin, on bool, d time.Duration) {
	at := on
	for end := time.Now().Add(d); time.Until(end) > 0; at = !at {
		s.touch(p, at)
		if !pause(ctx, bouncePause) {
			break
		}
	}
	s.touch(p, on)
}

func (s *sim) touch(p *pin, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drive(p.Line, on != p.Invert)
}

// pause waits for d. It reports false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
