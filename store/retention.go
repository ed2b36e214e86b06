package store

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

const tableFloor table = 5 // app, zero byte, topic name: events up to this sequence are not visible

// Floors are those of topics that were deleted, or part of whose history was
// dropped.
var floorKind = rowKind{name: "floors", catalog: inMemory[uint64]}

func (c *catalog) floors() *btree.Map[string, uint64] { return rowsOf[uint64](c, tableFloor) }

// Retention has no state of its own: what is visible of a topic follows from
// the journal's index and the topic's limits. A topic's floor is the sequence
// up to which its events are not visible any more.

// floor returns the floor of a topic: of its newest events as many as all three
// limits allow are above it.
func (s *Store) floor(c *catalog, row *appRow, topic string) (uint64, error) {
	key := eventKey(nil, row.App.Name, topic)
	floor := row.Born
	if f, ok := c.floors().Get(string(key)); ok {
		floor = max(floor, f)
	}
	limits := s.cfg.Retention
	if t, ok := c.topics().Get(string(key)); ok {
		limits = t.Retention.Or(limits)
	}
	cutoff := micros(s.cfg.Now()) - limits.MaxAge.Microseconds()
	var count int
	var size int64
	spans := s.journal.Spans(key)
	for i := len(spans) - 1; i >= 0; i-- {
		sp := &spans[i]
		if sp.LastSeq <= floor {
			return floor, nil
		}
		if aged(sp.LastAt, cutoff) {
			return sp.LastSeq, nil
		}
		count += sp.Count
		size += sp.Bytes
		if count > limits.MaxEvents || size > limits.MaxBytes || aged(sp.FirstAt, cutoff) {
			evicted, err := s.boundary(key, sp, count-sp.Count, size-sp.Bytes, limits, cutoff)
			return max(floor, evicted), err
		}
	}
	return floor, nil
}

// plausible is when the clock of a board without a battery must at least have
// been set: what was stamped before has no age that anybody knows.
var plausible = micros(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))

// aged reports whether something is older than a limit of age allows.
func aged(at, cutoff int64) bool { return at < cutoff && at >= plausible }

// boundary finds the newest event of a span that is over the limits, when count
// events of size bytes lie above the span. 0: none is.
func (s *Store) boundary(key []byte, sp *journal.Span, count int, size int64, limits picloud.Retention, cutoff int64) (uint64, error) {
	entries, err := s.journal.Entries(key, sp.Segment)
	if err != nil {
		if errors.Is(err, journal.ErrGone) {
			return sp.LastSeq, nil
		}
		return 0, fmt.Errorf("read index: %w", err)
	}
	for _, e := range slices.Backward(entries) {
		count++
		size += int64(e.Size)
		if count > limits.MaxEvents || size > limits.MaxBytes || aged(e.At, cutoff) {
			return e.Seq, nil
		}
	}
	return 0, nil
}
