package hw

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/board"
)

// How power and heat are watched. The kernel asks the firmware for the voltage every two
// seconds, so that looking more often shows nothing more.
const (
	powerEvery   = 2 * time.Second
	powerUnknown = time.Minute      // on a machine that reports neither
	powerSettle  = time.Minute      // for which a condition must have been absent to end: an end and a beginning a minute at the most
	powerRetry   = 30 * time.Second // after an event that could not be published
	coolDegrees  = 3                // below the limit ends heat
)

// episode is a condition while it lasts. Times are those of a clock that does not jump.
type episode struct {
	began time.Time
	seen  time.Time // last
}

// power is what a Monitor knows about power and heat.
type power struct {
	strained atomic.Bool // a condition lasts

	mu    sync.Mutex // guards what follows
	lasts map[board.Condition]episode
	were  map[board.Condition]bool // since the node started
}

func newPower() power {
	return power{lasts: map[board.Condition]episode{}, were: map[board.Condition]bool{}}
}

// lasting returns the conditions that last, in the order of board.Conditions.
func (p *power) lasting() []board.Lasting {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := []board.Lasting{}
	now := time.Now()
	for _, c := range board.Conditions {
		if e, ok := p.lasts[c]; ok {
			since := now.Add(-now.Sub(e.began)).UTC().Truncate(time.Second) // by today's clock, which may have been set since
			list = append(list, board.Lasting{Condition: c, Since: since, Advice: c.Advice()})
		}
	}
	return list
}

// seen reports whether a condition was there since the node started.
func (p *power) seen(c board.Condition) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.were[c]
}

// look compares what is measured with what lasts, and returns what has begun and what has
// ended, after how long.
func (p *power) look(h *board.Health, warm float64) (begun []board.Condition, ended map[board.Condition]time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	ended = map[board.Condition]time.Duration{}
	for _, c := range board.Conditions {
		e, lasts := p.lasts[c]
		switch {
		case present(c, h, warm, lasts):
			if !lasts {
				e.began = now
				begun = append(begun, c)
				p.were[c] = true
			}
			e.seen = now
			p.lasts[c] = e
		case lasts && now.Sub(e.seen) >= powerSettle:
			ended[c] = e.seen.Sub(e.began)
			delete(p.lasts, c)
		}
	}
	p.strained.Store(len(p.lasts) > 0)
	return begun, ended
}

// present reports whether a condition is measured. An unknown one is not.
func present(c board.Condition, h *board.Health, warm float64, lasts bool) bool {
	is := func(flag *bool) bool { return flag != nil && *flag }
	switch c {
	case board.Undervoltage:
		return is(h.Undervoltage)
	case board.Throttled:
		return is(h.Throttled)
	case board.Heat:
		if lasts {
			warm -= coolDegrees
		}
		return h.Celsius != nil && *h.Celsius >= warm
	}
	return false
}

// herald publishes what begins and ends. It belongs to one goroutine.
type herald struct {
	m       *Monitor
	told    map[board.Condition]bool // last according to the newest event
	lasted  map[board.Condition]time.Duration
	failing bool      // the last attempt did
	retryAt time.Time // after a failure
}

// watchPower watches power and heat until ctx ends.
func (m *Monitor) watchPower(ctx context.Context) {
	h := &herald{m: m, told: m.told(ctx), lasted: map[board.Condition]time.Duration{}}
	for ctx.Err() == nil {
		var health board.Health
		m.cfg.Board.vitals(&health)
		begun, ended := m.power.look(&health, m.cfg.Warm)
		for _, c := range begun {
			delete(h.lasted, c)
			m.log.Warn("condition of the board began; background work goes slower while it lasts", conditionAttrs(c, &health)...)
		}
		for c, d := range ended {
			h.lasted[c] = d
			m.log.Info("condition of the board ended", append(conditionAttrs(c, &health), slog.Duration("lasted", d.Round(time.Second)))...)
		}
		h.tell(ctx, &health)
		every := powerEvery
		if health.Celsius == nil && health.Undervoltage == nil && health.Throttled == nil && len(h.told) == 0 {
			every = powerUnknown
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
		}
	}
}

func conditionAttrs(c board.Condition, h *board.Health) []any {
	attrs := []any{slog.String("condition", string(c))}
	if h.Celsius != nil {
		attrs = append(attrs, slog.Float64("celsius", *h.Celsius))
	}
	return attrs
}

// told returns the conditions that last according to the newest event, which may be of an
// earlier start of the node.
func (m *Monitor) told(ctx context.Context) map[board.Condition]bool {
	told := map[board.Condition]bool{}
	events, err := m.cfg.History.Latest(ctx, picloud.DefaultApp, []string{picloud.TopicBoardPower})
	if err != nil {
		m.log.Warn("newest event of the topic could not be read", slog.String("topic", picloud.TopicBoardPower), slog.Any("err", err))
		return told
	}
	for _, e := range events {
		var last board.PowerEvent
		if json.Unmarshal(e.Data, &last) == nil { // else it is of another version, and what lasts begins again
			for _, c := range last.Lasting {
				told[c] = true
			}
		}
	}
	return told
}

// tell publishes the difference between what lasts and what has been told. What cannot be
// published is tried again, unless it is over until then.
func (h *herald) tell(ctx context.Context, health *board.Health) {
	if time.Now().Before(h.retryAt) {
		return
	}
	lasting := []board.Condition{}
	for _, l := range h.m.power.lasting() {
		lasting = append(lasting, l.Condition)
	}
	for _, c := range slices.Concat(board.Conditions, h.unknown()) {
		lasts := slices.Contains(lasting, c)
		if lasts == h.told[c] {
			continue
		}
		if err := h.publish(ctx, h.event(c, lasts, health)); err != nil {
			if !h.failing && ctx.Err() == nil {
				h.m.log.Warn("condition of the board was not published; it is tried again", slog.String("condition", string(c)), slog.Any("err", err))
			}
			h.failing, h.retryAt = true, time.Now().Add(powerRetry)
			return
		}
		h.failing = false
	}
}

// unknown returns the told conditions that this version does not know: they end.
func (h *herald) unknown() (list []board.Condition) {
	for c := range h.told {
		if !slices.Contains(board.Conditions, c) {
			list = append(list, c)
		}
	}
	return list
}

// event words that a condition begins or ends, and what has been told with it.
func (h *herald) event(c board.Condition, begins bool, health *board.Health) board.PowerEvent {
	e := board.PowerEvent{Condition: c, State: board.Ends, Celsius: health.Celsius, Lasting: []board.Condition{}, Simulated: health.Simulated}
	if d, known := h.lasted[c]; known && !begins {
		e.LastedSec = new(d.Round(time.Second).Seconds())
	}
	if begins {
		e.State, e.Advice = board.Begins, c.Advice()
	}
	for _, other := range board.Conditions {
		if other == c && begins || other != c && h.told[other] {
			e.Lasting = append(e.Lasting, other)
		}
	}
	return e
}

// publishTimeout bounds one attempt.
const publishTimeout = 5 * time.Second

func (h *herald) publish(ctx context.Context, e board.PowerEvent) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	_, err = h.m.cfg.Publisher.Publish(ctx, picloud.Publication{
		App: picloud.DefaultApp, By: picloud.System(), Drafts: []picloud.Draft{{Topic: picloud.TopicBoardPower, Data: data}},
	})
	if err != nil {
		return err
	}
	if e.State == board.Begins {
		h.told[e.Condition] = true
	} else {
		delete(h.told, e.Condition)
		delete(h.lasted, e.Condition)
	}
	return nil
}
