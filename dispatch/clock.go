package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/picloud/picloud"
)

// clock enqueues the runs that the times of triggers ask for. It is for one goroutine.
//
// What time came last is kept by the outbox, so nothing is forgotten over a
// restart. Times that were missed, because the node was off or its clock jumped,
// are caught up by one run at most. A clock that is put back makes the times
// between come again only when it was wrong by more than a few minutes.
//
// Before a board knows the time, what is of the calendar waits, and what comes every so
// often goes by a clock that does not jump. Once the time is known, what was stamped
// before is put right, so that the jump is no time that has passed.
type clock struct {
	cfg       DispatcherConfig
	log       *slog.Logger
	schedules []*schedule
	guess     guess
}

func newClock(cfg DispatcherConfig, log *slog.Logger) *clock { return &clock{cfg: cfg, log: log} }

// set takes the triggers that are of the clock.
func (c *clock) set(triggers []picloud.Trigger) {
	began := map[string]time.Time{} // of those that stay as they are
	for _, s := range c.schedules {
		began[s.trigger.ID+s.trigger.Schedule] = s.began
	}
	c.schedules = c.schedules[:0]
	for _, t := range triggers {
		if t.Kind != picloud.TriggerCron || !t.Enabled {
			continue
		}
		s, err := scheduleOf(t)
		if err != nil { // it was checked when it was made, maybe by another version
			c.log.Error("schedule cannot be read", slog.String("app", t.App), slog.String("trigger", t.Name), slog.Any("err", err))
			continue
		}
		s.began = began[t.ID+t.Schedule]
		c.schedules = append(c.schedules, s)
	}
}

// putBack is by how much a clock has to be put back for the last time to count no
// more.
const putBack = 5 * time.Minute

// look notes the times that have come.
func (c *clock) look(ctx context.Context) {
	now, sure := c.cfg.Now(), c.cfg.ClockSure()
	switch began, off := c.guess.look(now, sure); {
	case began:
		c.log.Info("schedules of the calendar wait until the clock can be believed")
	case off != 0:
		c.log.Info("schedules go by the clock from now on", slog.Duration("clock_was_off", off))
	}
	for _, s := range c.schedules {
		lookAt := c.lookAt
		if !sure {
			lookAt = c.waitAt
		}
		if err := lookAt(ctx, s, now); err != nil && ctx.Err() == nil {
			c.log.Warn("time that came could not be noted; it will be tried again", slog.String("app", s.trigger.App), slog.String("trigger", s.trigger.Name), slog.Any("err", err))
		}
	}
}

func (c *clock) lookAt(ctx context.Context, s *schedule, now time.Time) error {
	tick, err := c.cfg.Outbox.LastTick(s.trigger)
	if err != nil {
		return fmt.Errorf("read the last time: %w", err)
	}
	last, known := c.guess.truth(tick, now)
	anew := !known || last.Sub(now) > putBack // it counts from now
	changed, known := c.guess.truth(s.trigger.UpdatedAt, now)
	switch {
	case last.IsZero() && !known:
		anew = true
	case last.IsZero() || known && changed.After(last) && !changed.After(now):
		last, anew = changed, changed.After(now) // what would have been before does not matter
	}
	if anew {
		return c.cfg.Outbox.Tick(ctx, s.trigger, now, false) //nolint:wrapcheck // logged by the caller
	}
	if !s.began.IsZero() { // it went by another clock until now
		if ran := now.Add(-time.Since(s.began)); ran.After(last) {
			last = ran
		}
	}
	due := s.due(last, now)
	if due.IsZero() {
		return nil
	}
	late := now.Sub(due) > max(10*c.cfg.Tick, 10*time.Second)
	if err := c.cfg.Outbox.Tick(ctx, s.trigger, due, !late || s.trigger.CatchUp != picloud.CatchUpNone); err != nil {
		return err //nolint:wrapcheck // as above
	}
	s.began = time.Time{}
	return nil
}

// waitAt enqueues what comes every so often while the clock cannot be believed. The last
// time stays as it is: it counts once the time is known.
func (c *clock) waitAt(ctx context.Context, s *schedule, now time.Time) error {
	if !s.span {
		return nil
	}
	if s.began.IsZero() {
		s.began = time.Now()
	}
	gone := time.Since(s.began)
	if s.wall.Next(s.began).Sub(s.began) > gone {
		return nil
	}
	last, err := c.cfg.Outbox.LastTick(s.trigger)
	if err != nil {
		return fmt.Errorf("read the last time: %w", err)
	}
	if last.IsZero() {
		last = now
	}
	if err := c.cfg.Outbox.Tick(ctx, s.trigger, last, true); err != nil {
		return err //nolint:wrapcheck // logged by the caller
	}
	s.began = s.began.Add(gone)
	return nil
}

// guess is what a clock showed while it could not be believed: stretches without a jump,
// oldest first. A clock is often set some seconds before the kernel calls it synchronised.
type guess struct {
	stretches []stretch
	past      bool // it can be believed now
}

// stretch is a time without a jump.
type stretch struct {
	first, last time.Time     // by that clock
	at          time.Time     // of last, by a clock that does not jump
	off         time.Duration // by which the first was behind the one that is believed; 0: not known yet
}

const (
	jump         = 2 * time.Second // more than a clock goes wrong between two looks
	maxStretches = 8
)

// look takes note of what the clock shows. It reports when it cannot be believed, once, and
// by how much it was off when it can.
func (g *guess) look(now time.Time, sure bool) (began bool, off time.Duration) {
	now = now.Round(0) // what the clock shows: times that carry more differ by what has passed
	n := len(g.stretches)
	switch {
	case g.past:
	case !sure:
		if n == 0 || g.stretches[n-1].behind(now).Abs() > jump {
			g.stretches = append(g.stretches[max(0, n+1-maxStretches):], stretch{first: now})
		}
		last := &g.stretches[len(g.stretches)-1]
		last.last, last.at = now, time.Now()
		return n == 0, 0
	default:
		g.past = true
		for i := range g.stretches {
			g.stretches[i].off = g.stretches[i].behind(now)
		}
		if n > 0 {
			return false, g.stretches[0].off
		}
	}
	return false, 0
}

// behind returns by how much the clock of a stretch would be behind.
func (s *stretch) behind(now time.Time) time.Duration { return now.Sub(s.last.Add(time.Since(s.at))) }

// noTime is before any clock that was ever set: a board without a battery begins in 1970.
var noTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// truth returns when something was that was stamped at a time. Of a clock that was ahead
// nothing is put right: it showed times that came again. When that was which an earlier start
// of the board stamped in 1970 is not known.
func (g *guess) truth(at, now time.Time) (_ time.Time, known bool) {
	if at.IsZero() {
		return at, true
	}
	for _, s := range g.stretches {
		if s.off > jump && !at.Before(s.first) && !at.After(s.last.Add(jump)) {
			return at.Add(s.off), true
		}
	}
	return at, !at.Before(noTime) || now.Before(noTime)
}
