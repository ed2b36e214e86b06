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
// between come again only when it was wrong by more than a few minutes, and only one
// that can be believed: before a board knows the time, what is of the calendar waits
// until the clock is past the last time, and what comes every so often does.
type clock struct {
	cfg       DispatcherConfig
	log       *slog.Logger
	schedules []*schedule
}

func newClock(cfg DispatcherConfig, log *slog.Logger) *clock { return &clock{cfg: cfg, log: log} }

// set takes the triggers that are of the clock.
func (c *clock) set(triggers []picloud.Trigger) {
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
		c.schedules = append(c.schedules, s)
	}
}

// putBack is by how much a clock has to be put back for the last time to count no
// more.
const putBack = 5 * time.Minute

// look notes the times that have come.
func (c *clock) look(ctx context.Context) {
	now := c.cfg.Now()
	for _, s := range c.schedules {
		if err := c.lookAt(ctx, s, now); err != nil && ctx.Err() == nil {
			c.log.Warn("time that came could not be noted; it will be tried again", slog.String("app", s.trigger.App), slog.String("trigger", s.trigger.Name), slog.Any("err", err))
		}
	}
}

func (c *clock) lookAt(ctx context.Context, s *schedule, now time.Time) error {
	last, err := c.cfg.Outbox.LastTick(s.trigger)
	if err != nil {
		return fmt.Errorf("read the last time: %w", err)
	}
	if last.Sub(now) > putBack {
		if !c.cfg.ClockSure() {
			return c.every(ctx, s)
		}
		return c.cfg.Outbox.Tick(ctx, s.trigger, now, false) //nolint:wrapcheck // logged by the caller
	}
	if changed := s.trigger.UpdatedAt; last.IsZero() || (changed.After(last) && !changed.After(now)) {
		last = changed // what would have been before does not matter
		if last.After(now) {
			last = now
		}
	}
	due := s.due(last, now)
	if due.IsZero() {
		return nil
	}
	late := now.Sub(due) > max(10*c.cfg.Tick, 10*time.Second)
	return c.cfg.Outbox.Tick(ctx, s.trigger, due, !late || s.trigger.CatchUp != picloud.CatchUpNone) //nolint:wrapcheck // as above
}

// every enqueues what comes every so often while the clock is behind the last time, which
// stays as it is: it counts once the time is known.
func (c *clock) every(ctx context.Context, s *schedule) error {
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
	s.began = s.began.Add(gone)
	last, err := c.cfg.Outbox.LastTick(s.trigger)
	if err != nil {
		return fmt.Errorf("read the last time: %w", err)
	}
	return c.cfg.Outbox.Tick(ctx, s.trigger, last, true) //nolint:wrapcheck // logged by the caller
}
