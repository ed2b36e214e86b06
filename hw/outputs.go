package hw

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/picloud/picloud/board"
)

// output is the part of a pin that only outputs have. The pin's lock guards it.
type output struct {
	setBy  string // source of the last change; empty: none since the line was taken into use
	pulse  *pulse // nil: none
	wanted *bool  // what the line has to be at when it is taken into use again; nil: as it starts
	pace
}

// pulse is a level that ends by itself.
type pulse struct {
	on    bool
	end   time.Time // by the monotonic clock
	timer *time.Timer
}

// SetPin sets an output of an app, and returns the pin as it is then, read back from
// the line. Concurrent changes are done one after the other; the last one counts. A
// change without a pulse ends the pulse that is under way. Of two pulses at the same
// level the later end counts, and one at the other level replaces the one under way.
//
// A change that comes within the pin's MinInterval after the one before is held back until
// it is over, and replaced by one that comes meanwhile. SetPin waits for it when that is
// within answerWithin, or else tells it as pending; it is made even if ctx ends.
//
// It returns board.ErrPinNotFound, board.ErrPinInput, board.ErrPinFollows,
// board.ErrPulseInvalid, board.ErrPinUnavailable or the cause of ctx's end.
func (b *Board) SetPin(ctx context.Context, c board.PinChange) (one board.Pin, err error) {
	p, err := b.find(c.App, c.Name)
	switch {
	case err != nil:
		return board.Pin{}, err
	case !p.Output:
		return board.Pin{}, board.ErrPinInput
	case p.Follow != "":
		return board.Pin{}, board.ErrPinFollows.Detailf("The newest event of the topic %s says whether it is on: publish there.", p.Follow)
	case c.For != 0 && (c.For < board.MinPulse || c.For > board.MaxPulse):
		return board.Pin{}, board.ErrPulseInvalid
	}
	var waits *held
	err = p.with(b.chips, func(l line) (err error) {
		if waits, err = b.request(p, l, c); err != nil {
			return err
		}
		one, err = b.snapshot(p, l)
		return err
	})
	if err != nil && waits != nil { // the line was lost
		p.drop(waits, err)
	}
	b.changed(p)
	if err != nil || waits == nil || time.Duration(one.Pending.InMS)*time.Millisecond > answerWithin {
		return one, unavailable(err)
	}
	if err := waits.wait(ctx); err != nil {
		return board.Pin{}, err
	}
	return b.describe(p), nil
}

// startPulse makes the level of an output end after d; 0: not. The caller holds the
// pin's lock.
func (b *Board) startPulse(p *pin, on bool, d time.Duration) {
	if d != 0 && p.pulse != nil && p.pulse.on == on && time.Until(p.pulse.end) > d {
		return
	}
	p.stopPulse()
	if d == 0 {
		return
	}
	of := &pulse{on: on, end: time.Now().Add(d)}
	of.timer = time.AfterFunc(d, func() { b.endPulse(p, of) })
	p.pulse = of
}

// stopPulse forgets a pulse. The caller holds the pin's lock.
func (p *pin) stopPulse() {
	if p.pulse != nil {
		p.pulse.timer.Stop()
		p.pulse = nil
	}
}

// endPulse sets an output to the opposite of its pulse, unless another change has come
// between. An output that cannot be set now is set as soon as it can be used again.
func (b *Board) endPulse(p *pin, of *pulse) {
	p.mu.Lock()
	current := p.pulse == of
	if current {
		level := !of.on
		p.pulse, p.wanted = nil, &level
	}
	p.mu.Unlock()
	if current {
		b.reach(p)
	}
}

// reach sets an output to the level it has to be at, whenever it has changed before. When
// that fails, Run tries again.
func (b *Board) reach(p *pin) {
	err := p.with(b.chips, func(l line) error {
		if p.wanted == nil {
			return nil // another change has come between
		}
		if err := p.drive(l, *p.wanted); err != nil {
			return err
		}
		if p.wanted = nil; p.followed.level != nil {
			p.setBy = p.followSource()
		}
		return nil
	})
	if errors.Is(err, errStopped) {
		return
	}
	if err != nil {
		b.log.Warn("output was not set; it is tried again", slog.String("app", p.App), slog.String("pin", p.Name), slog.Any("err", err))
		b.lookNow()
	}
	b.changed(p)
}

// lookNow makes Run check the pins without waiting.
func (b *Board) lookNow() {
	select {
	case b.wake <- struct{}{}:
	default: // it has been asked already
	}
}

// due reports whether the output still has to reach a level.
func (p *pin) due() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wanted != nil
}

// pulseMS returns how many milliseconds are left of the pulse, at least 1; 0: there is
// none. The caller holds the pin's lock.
func (p *pin) pulseMS() int64 {
	if p.pulse == nil {
		return 0
	}
	return milliseconds(time.Until(p.pulse.end))
}
