package store

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// dropOld drops the oldest segments that state.db has overtaken, as long as all
// in them is past retention or the journal is over its budget, and every reader
// has passed them. Of what is past retention, records that a delivery waits for stay;
// over the budget, or on a full disk, such deliveries are given up, and events of telemetry topics go even
// when a reader has not passed them, out of segments with others too. Called by the
// committer, after a checkpoint.
func (s *Store) dropOld() error {
	s.maintainMu.Lock()
	defer s.maintainMu.Unlock()
	below := journal.LSN(0)
	size, waiting := s.journal.SizeOnDisk(), s.oldestWaiting()
	for _, seg := range s.journal.Segments() {
		if !seg.Sealed || seg.Last >= s.commit.reached {
			break
		}
		over := size > s.cfg.JournalBytes
		if held := seg.Last >= waiting && !s.space.full.Load(); !over && (held || !s.pastRetention(seg.Base)) {
			break
		}
		if s.isPending(seg) && (!over || !s.onlyTelemetry(seg)) {
			break
		}
		size -= seg.Bytes
		below = seg.Last + 1
	}
	if below == 0 {
		return s.thinBacklog()
	}
	s.commit.dropped = max(s.commit.dropped, below)
	err := s.giveUpBelow(below)
	if err == nil {
		err = s.raiseFloors(below)
	}
	if err == nil {
		err = s.writeAnchor()
	}
	if errors.Is(err, picloud.ErrNoSpace) {
		s.log.Warn("journal segments are kept: there is no space to note what goes with them")
		return nil
	}
	if err != nil {
		return err
	}
	s.forgetNames()
	if err := s.journal.Drop(below); err != nil {
		return fmt.Errorf("drop segments: %w", err)
	}
	s.log.Info("journal segments dropped", slog.Uint64("below", uint64(below)))
	return s.thinBacklog()
}

// isPending reports whether a reader of the journal has not done all of a segment.
func (s *Store) isPending(seg journal.Segment) bool { return seg.Last >= s.cursors.oldestPending() }

// onlyTelemetry reports whether all events of a segment are of topics that
// may lose some. Other changes are repeated by the anchor.
func (s *Store) onlyTelemetry(seg journal.Segment) bool {
	c := s.catalog.Load()
	only := true
	s.journal.Keys(func(key []byte, spans []journal.Span) bool {
		for i := range spans {
			if spans[i].Segment == seg.Base {
				only = isTelemetry(c, key)
			}
		}
		return only
	})
	return only
}

// thinBacklog gives up events of telemetry topics, oldest first, as long as the
// journal is over its budget with pending records: rather they than that publishing
// is refused. The caller holds maintainMu.
func (s *Store) thinBacklog() error {
	anchored := false
	if s.journal.SizeOnDisk() <= s.cfg.JournalBytes {
		return nil
	}
	for _, seg := range s.thinnable() {
		if s.journal.SizeOnDisk() <= s.cfg.JournalBytes || seg.Last >= s.commit.reached {
			return nil
		}
		var err error
		if !anchored { // the sequences must not depend on what goes
			err, anchored = s.writeAnchor(), true
		}
		if err == nil {
			err = s.thin(seg)
		}
		if errors.Is(err, picloud.ErrNoSpace) || errors.Is(err, journal.ErrNoSpace) {
			s.log.Warn("telemetry is kept: there is no space to write what stays beside it")
			return nil
		}
		if err != nil {
			return fmt.Errorf("give up telemetry: %w", err)
		}
	}
	return nil
}

// thin gives up the telemetry of one segment, after its topics' floors say so.
func (s *Store) thin(seg journal.Segment) error {
	c := s.catalog.Load()
	given := map[string]bool{}
	var floors []change
	s.journal.Keys(func(key []byte, spans []journal.Span) bool {
		if !isTelemetry(c, key) {
			return true
		}
		for i := range spans {
			if spans[i].Segment != seg.Base {
				continue
			}
			given[string(key)] = true
			if floor, _ := c.floors().Get(string(key)); spans[i].LastSeq > floor {
				floors = append(floors, change{table: tableFloor, key: key, value: cborEncode(spans[i].LastSeq)})
			}
		}
		return true
	})
	if err := s.writeRows(floors, true); err != nil {
		return err
	}
	s.forgetNames()
	freed, err := s.journal.Thin(seg.Base, func(key []byte) bool { return given[string(key)] })
	if err != nil {
		return err
	}
	s.commit.thinned[seg.Base] = true // what is left of it was published together with other events
	s.wear.add(s.cfg.Now(), max(0, seg.Bytes-freed))
	s.log.Warn("telemetry was given up to make room", slog.Uint64("segment", uint64(seg.Base)), slog.Int64("freed", freed))
	return nil
}

// thinnable lists the complete segments of which a good part is telemetry that
// can be given up, oldest first.
func (s *Store) thinnable() []journal.Segment {
	c := s.catalog.Load()
	size := map[journal.LSN]int64{}
	s.journal.Keys(func(key []byte, spans []journal.Span) bool {
		if isTelemetry(c, key) {
			for i := range spans {
				size[spans[i].Segment] += spans[i].Bytes + int64(spans[i].Count)*recordCost
			}
		}
		return true
	})
	return slices.DeleteFunc(s.journal.Segments(), func(seg journal.Segment) bool {
		return !seg.Sealed || s.commit.thinned[seg.Base] || size[seg.Base] < seg.Bytes/8
	})
}

func isTelemetry(c *catalog, key []byte) bool {
	t, ok := c.topics().Get(string(key))
	return ok && t.Durability == picloud.DurabilityTelemetry
}

// lookAtBudget finds out whether publishing must be refused, because the
// journal is over its budget and the records it could drop are pending.
func (s *Store) lookAtBudget() {
	full := false
	if s.journal.SizeOnDisk() > s.cfg.JournalBytes {
		if oldest := s.journal.Segments()[0]; oldest.Sealed {
			full = s.isPending(oldest) && !s.onlyTelemetry(oldest) && len(s.thinnable()) == 0
		}
	}
	if s.space.backlog.Swap(full) != full && full {
		s.log.Warn("journal is full of pending records: publishing is refused", slog.Int64("budget", s.cfg.JournalBytes))
	}
}

// makeRoom drops what can be dropped while publishing is refused. Called by the
// committer when a reader of the journal has moved on.
func (s *Store) makeRoom() error {
	if !s.space.backlog.Load() || s.commit.checkpointing != nil {
		return nil
	}
	if oldest := s.journal.Segments()[0]; oldest.Last >= s.commit.reached && !s.isPending(oldest) {
		return s.beginCheckpoint()
	}
	err := s.dropOld()
	s.lookAtBudget()
	return err
}

// pastRetention reports whether nothing in a segment is visible any more.
func (s *Store) pastRetention(segment journal.LSN) bool {
	c := s.catalog.Load()
	past := true
	s.journal.Keys(func(key []byte, spans []journal.Span) bool {
		for i := range spans {
			if spans[i].Segment == segment {
				past = s.isPast(c, key, &spans[i])
				break
			}
		}
		return past
	})
	return past
}

func (s *Store) isPast(c *catalog, key []byte, sp *journal.Span) bool {
	app, topic, err := splitEventKey(key)
	if err != nil {
		return false
	}
	row, err := c.app(app)
	if err != nil {
		return true // the app was deleted
	}
	floor, err := s.floor(c, row, topic)
	return err == nil && sp.LastSeq <= floor
}

// raiseFloors notes, before segments are dropped, how far the history of each
// registered topic goes with them: once the index has forgotten a quiet topic,
// only its floor can tell whether a reader has missed something. Floors of
// topics that are not registered go when the journal has nothing below them.
func (s *Store) raiseFloors(below journal.LSN) error {
	c := s.catalog.Load()
	var changes []change
	kept := map[string]bool{} // keys with events at or below their floor
	s.journal.Keys(func(key []byte, spans []journal.Span) bool {
		var gone uint64
		for i := range spans {
			if spans[i].Segment < below {
				gone = spans[i].LastSeq
			}
		}
		floor, _ := c.floors().Get(string(key))
		if _, registered := c.topics().Get(string(key)); registered && gone > floor {
			changes = append(changes, change{table: tableFloor, key: key, value: cborEncode(gone)})
		}
		for i := range spans {
			kept[string(key)] = kept[string(key)] || (spans[i].Segment >= below && spans[i].FirstSeq <= floor)
		}
		return true
	})
	c.floors().Scan(func(key string, _ uint64) bool {
		if _, registered := c.topics().Get(key); !registered && !kept[key] {
			changes = append(changes, change{table: tableFloor, key: []byte(key)})
		}
		return true
	})
	return s.writeRows(changes, true)
}

// gone returns the sequence up to which events of a topic may have gone with
// their segments. It is exact for registered topics, whose floor tells, and
// errs on the safe side for others.
func (s *Store) gone(c *catalog, app, topic string) uint64 {
	key := eventKey(nil, app, topic)
	if _, registered := c.topics().Get(string(key)); registered {
		return 0
	}
	return s.mayBeGone(app, key)
}

// mayBeGone is gone for a topic of which nothing was noted.
func (s *Store) mayBeGone(app string, key []byte) uint64 {
	gone := s.droppedOf(app)
	if gone == 0 {
		return 0
	}
	if spans := s.journal.Spans(key); len(spans) > 0 {
		gone = min(gone, spans[0].FirstSeq-1)
	}
	return gone
}

// droppedOf returns the sequence below which events of an app may have gone
// with their segments. 0: none have.
func (s *Store) droppedOf(app string) uint64 {
	segments := s.journal.Segments()
	if len(segments) == 0 || segments[0].Base <= 1 {
		return 0
	}
	return s.dropped.of(app, segments[0].Base, s.journal.Keys)
}

// dropped remembers where the history of apps begins, which changes only when
// segments are dropped.
type dropped struct {
	mu   sync.Mutex
	base journal.LSN // of the oldest segment
	apps map[string]uint64
}

func (d *dropped) of(app string, base journal.LSN, keys func(func([]byte, []journal.Span) bool)) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.base != base {
		d.base, d.apps = base, map[string]uint64{}
	}
	if seq, ok := d.apps[app]; ok {
		return seq
	}
	prefix := pair(app, "")
	first := uint64(math.MaxUint64)
	keys(func(key []byte, spans []journal.Span) bool {
		if len(spans) > 0 && strings.HasPrefix(string(key), prefix) {
			first = min(first, spans[0].FirstSeq)
		}
		return true
	})
	if first < math.MaxUint64 { // else its next event decides
		d.apps[app] = first - 1
	}
	return first - 1
}
