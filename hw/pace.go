package hw

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/board"
)

// DefaultMinInterval is the shortest time between two changes of an output of which the
// configuration does not say it: ten changes a second, which a small relay stands.
const DefaultMinInterval = 100 * time.Millisecond

// answerWithin is how long a request waits for its change to be made, when the output may not
// change at once.
const answerWithin = time.Second

// pace keeps an output from changing too often. The pin's lock guards it.
type pace struct {
	level bool      // that the line was given last
	moved time.Time // when it changed last, or the line was taken into use
	held  *held     // nil: no change waits

	changes, late atomic.Uint64 // changes of the level, and those that had to wait; read without the lock
}

// held is a requested change that waits until the output may change again. The newest
// takes the place of those before.
type held struct {
	change board.PinChange
	due    time.Time
	timer  *time.Timer
	over   chan struct{} // closed when it is made, replaced or given up
	err    error         // why it is given up; to be read once over is closed
}

// drive gives a level to the line. The caller holds the pin's lock.
func (p *pin) drive(l line, on bool) error {
	if err := l.set(on); err != nil {
		return err
	}
	if on != p.level {
		p.level, p.moved = on, time.Now()
		p.changes.Add(1)
	}
	return nil
}

// rest returns how long the output has to wait before it may change to a level; 0: it may,
// or it has that level. The caller holds the pin's lock.
func (p *pin) rest(on bool) time.Duration {
	if on == p.level {
		return 0
	}
	return max(0, p.MinInterval-time.Since(p.moved))
}

// request makes a requested change, or holds it back; then it returns that. The caller
// holds the pin's lock.
func (b *Board) request(p *pin, l line, c board.PinChange) (*held, error) {
	p.giveUp(nil)
	rest := p.rest(c.On)
	if rest == 0 {
		return nil, b.apply(p, l, c)
	}
	p.late.Add(1)
	h := &held{change: c, due: time.Now().Add(rest), over: make(chan struct{})}
	h.timer = time.AfterFunc(rest, func() { b.release(p, h) })
	p.held = h
	return h, nil
}

// apply makes a change. The caller holds the pin's lock.
func (b *Board) apply(p *pin, l line, c board.PinChange) error {
	if err := p.drive(l, c.On); err != nil {
		return err
	}
	p.setBy, p.wanted = c.By, nil
	b.startPulse(p, c.On, c.For)
	return nil
}

// release makes a change that was held back, unless another has taken its place.
func (b *Board) release(p *pin, h *held) {
	err := p.with(b.chips, func(l line) error {
		if p.held != h {
			return nil
		}
		if rest := p.rest(h.change.On); rest > 0 { // a pulse has ended meanwhile
			h.due = time.Now().Add(rest)
			h.timer.Reset(rest)
			return nil
		}
		if err := b.apply(p, l, h.change); err != nil {
			return err
		}
		p.giveUp(nil)
		return nil
	})
	if err != nil && p.drop(h, err) {
		b.log.Warn("output was not set", slog.String("app", p.App), slog.String("pin", p.Name), slog.Any("err", err))
	}
	b.changed(p)
}

// giveUp forgets the change that is held back: err says why, nil that it is made or
// replaced. The caller holds the pin's lock.
func (p *pin) giveUp(err error) {
	if p.held == nil {
		return
	}
	p.held.timer.Stop()
	p.held.err = err
	close(p.held.over)
	p.held = nil
}

// drop gives up a change that cannot be made. It reports false if that is over already.
func (p *pin) drop(h *held, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != h {
		return false
	}
	p.giveUp(err)
	return true
}

// wait waits until the change is over, or for answerWithin.
func (h *held) wait(ctx context.Context) error {
	timer := time.NewTimer(answerWithin)
	defer timer.Stop()
	select {
	case <-h.over:
		return unavailable(h.err)
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pending returns the change that is held back; nil: none is. The caller holds the pin's
// lock.
func (p *pin) pending() *board.Pending {
	switch {
	case p.held != nil:
		c := p.held.change
		return &board.Pending{On: c.On, InMS: milliseconds(time.Until(p.held.due)), ForMS: c.For.Milliseconds()}
	case p.Follow != "" && p.wanted != nil && p.line != nil && *p.wanted != p.level:
		return &board.Pending{On: *p.wanted, InMS: milliseconds(p.rest(*p.wanted))}
	}
	return nil
}

// milliseconds returns what is left, at least 1.
func milliseconds(left time.Duration) int64 {
	return max(1, int64((left+time.Millisecond-1)/time.Millisecond))
}

// OutputCounts are what an output has done since the start of the node.
type OutputCounts struct {
	App, Pin string
	Changes  uint64 // of its level
	Held     uint64 // changes that had to wait for min_interval, or were replaced by newer ones before they were made
}

// Outputs counts what the outputs have done.
func (b *Board) Outputs() (list []OutputCounts) {
	for _, p := range b.pins {
		if p.Output {
			list = append(list, OutputCounts{App: p.App, Pin: p.Name, Changes: p.changes.Load(), Held: p.late.Load()})
		}
	}
	return list
}
