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
		if press.For != 0 || press.Times != 0 || press.Bounce != 0 {
			return board.ErrPressInvalid.Detailf("A press that leaves the input on or off has no length, number or bounce.")
		}
		s.bounce(ctx, p, *press.On, 0)
		return nil
	case press.For < time.Millisecond || press.Times < 1 || press.Bounce < 0 || press.Bounce > press.For || press.For+levelCost > board.MaxPress/2/time.Duration(press.Times):
		return board.ErrPressInvalid
	}
	return s.press(ctx, p, press, board.MaxPress)
}

// levelCost is what a level may take beyond the time that it is told to: timers are late.
const levelCost = time.Millisecond

// press presses and lets go, for at most a limit.
func (s *sim) press(ctx context.Context, p *pin, press board.Press, limit time.Duration) error {
	defer s.bounce(context.WithoutCancel(ctx), p, false, 0)
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for done := range press.Times {
		for _, on := range []bool{true, false} {
			s.bounce(limited, p, on, press.Bounce)
			switch {
			case pause(limited, press.For-press.Bounce):
			case ctx.Err() != nil:
				return context.Cause(ctx)
			default:
				return board.ErrPressInvalid.Detailf("It was cut short after %v, when %d of %d presses were over: the machine is busy; press less often, or for longer.", limit, done, press.Times)
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
