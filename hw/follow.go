package hw

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/board"
	"github.com/picloud/picloud/check"
)

// DefaultFollowPath is where the data of a followed event says whether the output is on.
const DefaultFollowPath = "/on"

// History has the events that are retained; *store.Store implements it.
type History interface {
	Latest(ctx context.Context, app string, topics []string) ([]picloud.Event, error)
}

// followed is what a pin knows of the topic that it follows. The pin's lock guards it.
type followed struct {
	ready bool      // the history has been read, or need not be
	level *bool     // what the newest usable event says; nil: none is known
	event string    // position of the newest event; empty: none is known
	fault string    // why it says nothing
	told  time.Time // when that was logged last; zero: not yet
}

// follower takes the newest event of a topic to an output. Events that come faster
// than the output can be set are skipped for the newest one.
type follower struct {
	pin    *pin
	tokens []string      // of the path
	wake   chan struct{} // there is something to do

	mu     sync.Mutex // guards what follows
	seq    uint64     // of the newest event
	newest *picloud.Event
	gone   bool // the app was deleted after the newest event
}

// topicKey names a topic of an app.
type topicKey struct{ app, topic string }

// follow makes the follower of a pin that follows a topic.
func (b *Board) follow(p *pin) {
	tokens, err := check.Pointer(p.FollowPath)
	if err != nil {
		p.followed.fault = err.Error()
	}
	f := &follower{pin: p, tokens: tokens, wake: make(chan struct{}, 1)}
	key := topicKey{p.App, p.Follow}
	b.followers[key] = append(b.followers[key], f)
}

// Follows reports whether any output follows a topic.
func (b *Board) Follows() bool { return len(b.followers) > 0 }

// Committed takes committed events, in their order, to the outputs that follow their
// topics. It does not wait for the outputs.
func (b *Board) Committed(events []picloud.Event) {
	for i := range events {
		e := &events[i]
		for _, f := range b.followers[topicKey{e.App, e.Topic}] {
			f.offer(e)
		}
	}
}

// offer keeps an event if it is newer than those before.
func (f *follower) offer(e *picloud.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Seq <= f.seq {
		return
	}
	own := *e // the caller uses its slice again
	f.seq, f.newest, f.gone = e.Seq, &own, false
	f.poke()
}

// appDeleted makes the output forget its topic and go to its state for the stop.
func (f *follower) appDeleted() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest, f.gone = nil, true
	f.poke()
}

func (f *follower) poke() {
	select {
	case f.wake <- struct{}{}:
	default: // it has not been heard yet
	}
}

// take returns what is to be done.
func (f *follower) take() (e *picloud.Event, gone bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, gone = f.newest, f.gone
	f.newest, f.gone = nil, false
	return e, gone
}

// run sets the output until ctx ends. While the output may not change yet, newer events
// take the place of the one that is held back.
func (f *follower) run(ctx context.Context, b *Board) {
	rested := time.NewTimer(0)
	defer rested.Stop()
	for {
		select {
		case <-f.wake:
		case <-rested.C:
		case <-ctx.Done():
			return
		}
		e, gone := f.take()
		if gone {
			b.releaseOutput(f.pin)
			continue
		}
		said := e != nil && f.heed(b, e)
		due, rest := f.pin.outstanding()
		switch {
		case due && rest == 0:
			b.reach(f.pin)
			continue
		case due:
			rested.Reset(rest)
			if said {
				f.pin.late.Add(1)
			}
		}
		if e != nil {
			b.changed(f.pin)
		}
	}
}

// outstanding reports whether the output has to be set to a level, and how long it has to
// wait for that.
func (p *pin) outstanding() (due bool, rest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted == nil {
		return false, 0
	}
	return true, p.rest(*p.wanted)
}

// faultEvery is how often an output logs an event that says nothing: its publisher says how
// many there are.
const faultEvery = time.Hour

// heed makes the level of the output that of an event, and reports whether it says
// one. One that does not leaves the level as it is.
func (f *follower) heed(b *Board, e *picloud.Event) bool {
	on, ok := levelAt(e.Data, f.tokens)
	p := f.pin
	p.mu.Lock()
	defer p.mu.Unlock()
	p.followed.event = e.String()
	if ok {
		p.followed.level, p.followed.fault, p.wanted = &on, "", &on
		return true
	}
	if p.followed.told.IsZero() || time.Since(p.followed.told) >= faultEvery {
		p.followed.told = time.Now()
		b.log.Warn("event does not say whether the output is on; it stays as it is", slog.String("app", p.App), slog.String("pin", p.Name), slog.String("topic", p.Follow), slog.String("follow_path", p.FollowPath))
	}
	p.followed.fault = "The data of the event has neither true nor false at follow_path."
	return false
}

// recall reads the newest event of each followed topic, so that outputs are taken into
// use at the level that it says.
func (b *Board) recall(ctx context.Context) {
	for key, followers := range b.followers {
		var events []picloud.Event
		if b.cfg.History != nil {
			var err error
			events, err = b.cfg.History.Latest(ctx, key.app, []string{key.topic})
			if err != nil && !errors.Is(err, picloud.ErrAppNotFound) {
				b.log.Error("newest event of a followed topic cannot be read; its outputs are as they start", slog.String("app", key.app), slog.String("topic", key.topic), slog.Any("err", err))
			}
		}
		for _, f := range followers {
			for _, e := range events {
				f.offer(&e)
			}
			if e, _ := f.take(); e != nil {
				f.heed(b, e)
			}
			f.pin.mu.Lock()
			f.pin.followed.ready = true
			f.pin.mu.Unlock()
		}
	}
}

// AppDeleted sets the outputs of an app that was deleted to their state for the stop:
// they have no owner any more. It does not wait for them.
func (b *Board) AppDeleted(app string) {
	b.mu.Lock()
	b.deleted = append(b.deleted, app)
	b.mu.Unlock()
	for key, followers := range b.followers {
		if key.app == app {
			for _, f := range followers {
				f.appDeleted()
			}
		}
	}
	b.lookNow()
}

// releaseDeleted sets the outputs of deleted apps that follow no topic.
func (b *Board) releaseDeleted() {
	b.mu.Lock()
	apps := b.deleted
	b.deleted = nil
	b.mu.Unlock()
	for _, app := range apps {
		for _, p := range b.pins {
			if p.App == app && p.Output && p.Follow == "" {
				b.releaseOutput(p)
			}
		}
	}
}

// releaseOutput sets an output to its state for the stop, and ends its pulse.
func (b *Board) releaseOutput(p *pin) {
	p.mu.Lock()
	p.stopPulse()
	p.giveUp(nil)
	p.followed.level, p.followed.event, p.followed.fault = nil, "", ""
	level := p.Stop
	p.setBy, p.wanted = picloud.System().Source(), &level
	p.mu.Unlock()
	b.reach(p)
}

// describeFollow returns what a pin follows; nil: no topic. The caller holds its lock.
func (p *pin) describeFollow() *board.Follow {
	if p.Follow == "" {
		return nil
	}
	return &board.Follow{Topic: p.Follow, Path: p.FollowPath, Event: p.followed.event, Fault: p.followed.fault}
}

// followSource is the source of changes by the topic that a pin follows.
func (p *pin) followSource() string { return "topic:" + p.Follow }

// levelAt returns the boolean at a place in JSON.
func levelAt(data []byte, tokens []string) (on, ok bool) {
	at := json.RawMessage(bytes.TrimSpace(data))
	for _, token := range tokens {
		if at, ok = child(at, token); !ok {
			return false, false
		}
	}
	on = string(at) == "true"
	return on, on || string(at) == "false"
}

// child returns a member of an object or an element of an array.
func child(at json.RawMessage, token string) (json.RawMessage, bool) {
	switch {
	case len(at) == 0:
	case at[0] == '{':
		var object map[string]json.RawMessage
		if json.Unmarshal(at, &object) == nil {
			next, ok := object[token]
			return next, ok
		}
	case at[0] == '[':
		var array []json.RawMessage
		n, err := strconv.ParseUint(token, 10, 31)
		if err == nil && strconv.FormatUint(n, 10) == token && json.Unmarshal(at, &array) == nil && n < uint64(len(array)) {
			return array[n], true
		}
	}
	return nil, false
}
