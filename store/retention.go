package store

import (
	"errors"
	"fmt"
	"math"

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
	cutoff := micros(s.Now()) - limits.MaxAge.Microseconds()
	var count int
	var size int64
	spans, end := s.journal.Spans(key), journal.LSN(math.MaxUint64)
	ranges := c.guessed()
	for i := len(spans) - 1; i >= 0; i-- {
		sp := &spans[i]
		if sp.LastSeq <= floor {
			return floor, nil
		}
		guessed := guessedIn(ranges, sp.Segment, end)
		end = sp.Segment - 1
		if sp.LastAt < cutoff && sp.FirstAt >= plausible && guessed == nil {
			return sp.LastSeq, nil
		}
		count += sp.Count
		size += sp.Bytes
		if count > limits.MaxEvents || size > limits.MaxBytes || sp.FirstAt < cutoff {
			evicted, err := s.boundary(key, sp, count-sp.Count, size-sp.Bytes, limits, aging{cutoff, guessed})
			if evicted > floor || err != nil {
				return max(floor, evicted), err
			}
		}
	}
	return floor, nil
}

// aging tells which events of a span are older than a limit of age allows. Those whose
// age is not known are not: they go with what came after them.
type aging struct {
	cutoff  int64
	guessed []guessRange // that touch the span
}

func (a *aging) past(e *journal.Entry) bool {
	at, ok := timeOf(a.guessed, e.LSN, e.At)
	return ok && at < a.cutoff
}

// boundary finds the newest event of a span that is over the limits, when count
// events of size bytes lie above the span. 0: none is.
func (s *Store) boundary(key []byte, sp *journal.Span, count int, size int64, limits picloud.Retention, age aging) (uint64, error) {
	entries, err := s.journal.Entries(key, sp.Segment)
	if err != nil {
		if errors.Is(err, journal.ErrGone) {
			return sp.LastSeq, nil
		}
		return 0, fmt.Errorf("read index: %w", err)
	}
	for i := len(entries) - 1; i >= 0; i-- {
		e := &entries[i]
		count++
		size += int64(e.Size)
		if count > limits.MaxEvents || size > limits.MaxBytes || age.past(e) {
			return e.Seq, nil
		}
	}
	return 0, nil
}
