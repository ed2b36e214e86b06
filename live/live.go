// Package live publishes states: values of which only the newest counts. A state is
// measured while a stream carries its topic, and not otherwise.
//
// It does not know what a state consists of, and sends nothing itself: the hub does.
package live

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Hub holds states; *realtime.Hub implements it.
type Hub interface {
	// SetState makes data the value of a state; nil keeps none.
	SetState(topic string, data []byte) (watched bool)
	// Watched returns a channel that is closed as soon as a stream carries the topic.
	Watched(topic string) <-chan struct{}
}

// State is a state and how it is measured.
type State struct {
	Hub   Hub
	Topic string
	Every time.Duration // between two measurements

	// Measure returns the value, which is sent as JSON. It is called by one goroutine.
	// first is true when the topic had no stream before: what was measured then is old.
	Measure func(first bool) (any, error)

	// Changed asks for a measurement before its time, which is made at once, and Apart after
	// the value before at the earliest: changes in between are one value. nil: nothing asks.
	Changed <-chan struct{}
	Apart   time.Duration

	// OnlyChanges leaves out a value that is equal to the one before it.
	OnlyChanges bool
}

// Run publishes until ctx ends, and returns nil then, or the first error of Measure.
func (s State) Run(ctx context.Context) error {
	for {
		select {
		case <-s.Hub.Watched(s.Topic):
		case <-ctx.Done():
			return nil
		}
		if err := s.publish(ctx); err != nil {
			return err
		}
	}
}

// publish publishes until no stream carries the topic. Its value would be old for the
// next stream, so that none is kept.
func (s State) publish(ctx context.Context) error {
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	var last []byte
	var sent time.Time
	for first := true; ctx.Err() == nil && (first || s.watched()); first = false {
		value, err := s.Measure(first)
		if err != nil {
			return fmt.Errorf("measure %s: %w", s.Topic, err)
		}
		data, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("encode %s: %w", s.Topic, err)
		}
		if !s.OnlyChanges || !bytes.Equal(data, last) {
			s.Hub.SetState(s.Topic, data)
			last, sent = data, time.Now()
		}
		select {
		case <-tick.C:
		case <-s.Changed:
			s.rest(ctx, s.Apart-time.Since(sent))
		case <-ctx.Done():
		}
	}
	s.Hub.SetState(s.Topic, nil)
	return nil
}

// watched reports whether a stream carries the topic.
func (s State) watched() bool {
	select {
	case <-s.Hub.Watched(s.Topic):
		return true
	default:
		return false
	}
}

// rest lets the changes come that follow a first one at once.
func (s State) rest(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	select {
	case <-s.Changed: // it is in what is measured now
	default:
	}
}
