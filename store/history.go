package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// Head returns the position of the app's newest event; its Seq is 0 while there
// is none.
func (s *Store) Head(app string) (picloud.Position, error) {
	row, err := s.catalog.Load().app(app)
	if err != nil {
		return picloud.Position{}, err
	}
	return picloud.Position{Epoch: s.ident.epoch, Seq: row.sequence.visible.Load()}, nil
}

// view is what one reader of an app's history sees: the catalog and the newest
// committed event as they were when it began.
type view struct {
	s    *Store
	c    *catalog
	row  *appRow
	head uint64
}

func (s *Store) view(app string) (*view, error) {
	c := s.catalog.Load()
	row, err := c.app(app)
	if err != nil {
		return nil, err
	}
	return &view{s: s, c: c, row: row, head: row.sequence.visible.Load()}, nil
}

// defaultLimit is how many events a page has when the query does not say.
const defaultLimit = 1000

// Events returns a page of the history of some topics, in order of sequence.
// Topics need not be registered, nor exist.
func (s *Store) Events(ctx context.Context, q picloud.HistoryQuery) (picloud.HistoryPage, error) {
	v, err := s.view(q.App)
	if err != nil {
		return picloud.HistoryPage{}, err
	}
	limit := or(q.Limit, defaultLimit)
	upTo := v.head
	if q.UpTo != 0 {
		upTo = min(upTo, q.UpTo)
	}
	page := picloud.HistoryPage{Next: max(q.After, upTo)}
	found, err := v.first(compact(q.Topics), q.After, upTo, limit+1)
	if err != nil {
		return picloud.HistoryPage{}, err
	}
	if n := pageLength(found, limit, min(or(q.Bytes, maxPageBytes), maxPageBytes)); n < len(found) {
		found = found[:n]
		page.Next, page.More = found[n-1].Seq, true
	}
	page.Events, err = v.read(ctx, found)
	if err != nil {
		return picloud.HistoryPage{}, err
	}
	return page, nil
}

// maxPageBytes bounds the data of a page, which is in memory as a whole.
const maxPageBytes = 4 << 20

// pageLength returns how many entries make a page: at least one.
func pageLength(entries []journal.Entry, limit, bytes int) int {
	size := 0
	for i, e := range entries {
		size += int(e.Size)
		if i == limit || (i > 0 && size > bytes) {
			return i
		}
	}
	return len(entries)
}

// first returns up to limit entries of topics with sequences in (after, upTo], in order of
// sequence. What comes after as many of the topics before is not collected, so that many
// topics cost little more than one.
func (v *view) first(topics []string, after, upTo uint64, limit int) (found []journal.Entry, err error) {
	var more, merged []journal.Entry
	for _, topic := range topics {
		if more, err = v.collect(more[:0], topic, after, upTo, limit); err != nil {
			return nil, err
		}
		if len(found) == 0 {
			found, more = more, nil
		} else if len(more) > 0 {
			merged = mergeEntries(merged[:0], found, more, limit)
			found, merged = merged, found
		}
		if len(found) == limit {
			upTo = found[limit-1].Seq
		}
	}
	return found, nil
}

// mergeEntries appends up to limit entries of a and b, which are both in order of sequence,
// to dst.
func mergeEntries(dst, a, b []journal.Entry, limit int) []journal.Entry {
	for len(dst) < limit && (len(a) > 0 || len(b) > 0) {
		if len(b) == 0 || len(a) > 0 && a[0].Seq < b[0].Seq {
			dst, a = append(dst, a[0]), a[1:]
		} else {
			dst, b = append(dst, b[0]), b[1:]
		}
	}
	return dst
}

// collect appends up to limit entries of a topic with sequences in (after,
// upTo] that are above its floor.
func (v *view) collect(found []journal.Entry, topic string, after, upTo uint64, limit int) ([]journal.Entry, error) {
	if after >= upTo {
		return found, nil
	}
	floor, err := v.s.floor(v.c, v.row, topic)
	if err != nil {
		return nil, err
	}
	after = max(after, floor)
	key := eventKey(nil, v.row.App.Name, topic)
	for _, sp := range v.s.journal.Spans(key) {
		if sp.LastSeq <= after {
			continue
		}
		if sp.FirstSeq > upTo || limit == 0 {
			break
		}
		entries, err := v.s.entries(key, sp.Segment)
		if err != nil {
			return nil, err
		}
		first := sort.Search(len(entries), func(i int) bool { return entries[i].Seq > after })
		last := sort.Search(len(entries), func(i int) bool { return entries[i].Seq > upTo })
		n := min(max(last-first, 0), limit)
		found = append(found, entries[first:first+n]...)
		limit -= n
	}
	return found, nil
}

// entries is journal.Entries, where a segment that was dropped meanwhile has
// none.
func (s *Store) entries(key []byte, segment journal.LSN) ([]journal.Entry, error) {
	entries, err := s.journal.Entries(key, segment)
	if errors.Is(err, journal.ErrGone) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	return entries, nil
}

// read turns entries into events. One that is damaged is left out, told to the
// operator, and does not hide the others; one that was dropped meanwhile is
// left out as well.
func (v *view) read(ctx context.Context, entries []journal.Entry) ([]picloud.Event, error) {
	events := make([]picloud.Event, 0, len(entries))
	synced := v.s.journal.Synced()
	var buf []byte
	for i, e := range entries {
		if i%64 == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if need := int(e.Size) + recordCost + journal.MaxKey; cap(buf) < need {
			buf = make([]byte, 0, need)
		}
		rec, err := v.s.journal.Read(e, buf)
		var damage *journal.DamageError
		switch {
		case errors.Is(err, journal.ErrGone):
			continue
		case errors.As(err, &damage):
			v.s.log.Error("event is damaged on the disk", slog.String("app", v.row.App.Name), slog.Any("seq", e.Seq), slog.Any("err", err))
			v.s.journalDamaged(damage)
			continue
		case err != nil:
			return nil, fmt.Errorf("read event: %w", err)
		}
		ev, err := parseEvent(v.s.ident.epoch, &rec)
		if err != nil {
			return nil, fmt.Errorf("read event %d: %w", e.Seq, err)
		}
		ev.Durability = picloud.DurabilityLocal
		if e.LSN > synced {
			ev.Durability = picloud.DurabilityPending
		}
		v.s.central(&ev, e.LSN)
		events = append(events, ev)
	}
	return events, nil
}

// Event returns one event, or picloud.ErrEventNotFound.
func (s *Store) Event(ctx context.Context, app string, pos picloud.Position) (picloud.Event, error) {
	v, err := s.view(app)
	if err != nil {
		return picloud.Event{}, err
	}
	if pos.Epoch != s.ident.epoch || pos.Seq == 0 || pos.Seq > v.head || pos.Seq <= v.row.Born {
		return picloud.Event{}, picloud.ErrEventNotFound
	}
	topic, ok := s.topicAt(app, pos.Seq)
	if !ok {
		return picloud.Event{}, picloud.ErrEventNotFound
	}
	found, err := v.collect(nil, topic, pos.Seq-1, pos.Seq, 1)
	if err != nil {
		return picloud.Event{}, err
	}
	events, err := v.read(ctx, found)
	if err != nil {
		return picloud.Event{}, err
	}
	if len(events) == 0 {
		return picloud.Event{}, picloud.ErrEventNotFound
	}
	return events[0], nil
}

// topicAt finds the topic that an app's sequence went to.
func (s *Store) topicAt(app string, seq uint64) (topic string, ok bool) {
	prefix := pair(app, "")
	s.journal.Keys(func(key []byte, spans []journal.Span) bool {
		if !strings.HasPrefix(string(key), prefix) {
			return true
		}
		for _, sp := range spans {
			if seq < sp.FirstSeq || seq > sp.LastSeq {
				continue
			}
			entries, err := s.entries(key, sp.Segment)
			if err != nil {
				continue // told when the event itself is read
			}
			i := sort.Search(len(entries), func(i int) bool { return entries[i].Seq >= seq })
			if i < len(entries) && entries[i].Seq == seq {
				topic, ok = string(key[len(prefix):]), true
				return false
			}
		}
		return true
	})
	return topic, ok
}

// CheckPosition tells whether a reader of some topics that has seen everything
// up to pos can go on from there: nil, picloud.ErrPositionGone when events
// after it have been removed, or picloud.ErrPositionForeign when it is not of
// this history.
func (s *Store) CheckPosition(app string, topics []string, pos picloud.Position) error {
	v, err := s.view(app)
	if err != nil {
		return err
	}
	if pos.Epoch != s.ident.epoch || pos.Seq > v.head {
		return picloud.ErrPositionForeign
	}
	if pos.Seq == v.head {
		return nil
	}
	floors, err := v.floors(topics)
	if err == nil && slices.ContainsFunc(floors, func(floor uint64) bool { return pos.Seq < floor }) {
		err = picloud.ErrPositionGone
	}
	return err
}

// Floors returns for each topic the sequence up to which its events have been
// removed, or may have been.
func (s *Store) Floors(app string, topics []string) ([]uint64, error) {
	v, err := s.view(app)
	if err != nil {
		return nil, err
	}
	return v.floors(topics)
}

func (v *view) floors(topics []string) ([]uint64, error) {
	floors := make([]uint64, len(topics))
	for i, topic := range topics {
		floor, err := v.s.floor(v.c, v.row, topic)
		if err != nil {
			return nil, err
		}
		floors[i] = max(floor, v.s.gone(v.c, v.row.App.Name, topic))
	}
	return floors, nil
}

// Before returns the sequence just before the first event of some topics that
// was published at t or later.
func (s *Store) Before(_ context.Context, app string, topics []string, t time.Time) (uint64, error) {
	v, err := s.view(app)
	if err != nil {
		return 0, err
	}
	at := micros(t)
	before := v.head
	for _, topic := range compact(topics) {
		key := eventKey(nil, app, topic)
		floor, err := s.floor(v.c, v.row, topic)
		if err != nil {
			return 0, err
		}
		ranges, spans := v.c.guessed(), s.journal.Spans(key)
	spans:
		for i, sp := range spans {
			end := journal.LSN(math.MaxUint64)
			if i+1 < len(spans) {
				end = spans[i+1].Segment - 1
			}
			guessed := guessedIn(ranges, sp.Segment, end)
			if sp.LastAt < at && guessed == nil || sp.LastSeq <= floor {
				continue
			}
			entries, err := s.entries(key, sp.Segment)
			if err != nil {
				return 0, err
			}
			for _, e := range entries {
				if when, _ := timeOf(guessed, e.LSN, e.At); when >= at && e.Seq > floor {
					before = min(before, e.Seq-1)
					break spans
				}
			}
		}
	}
	return before, nil
}

// Latest returns the newest retained event of each topic that has one, in order
// of sequence.
func (s *Store) Latest(ctx context.Context, app string, topics []string) ([]picloud.Event, error) {
	v, err := s.view(app)
	if err != nil {
		return nil, err
	}
	var found []journal.Entry
	for _, topic := range compact(topics) {
		floor, err := s.floor(v.c, v.row, topic)
		if err != nil {
			return nil, err
		}
		key := eventKey(nil, app, topic)
		for _, sp := range slices.Backward(s.journal.Spans(key)) {
			if sp.FirstSeq > v.head {
				continue // written, but not committed yet
			}
			entries, err := s.entries(key, sp.Segment)
			if err != nil {
				return nil, err
			}
			i := sort.Search(len(entries), func(i int) bool { return entries[i].Seq > v.head })
			if i > 0 && entries[i-1].Seq > floor {
				found = append(found, entries[i-1])
			}
			if i > 0 {
				break
			}
		}
	}
	slices.SortFunc(found, func(a, b journal.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return v.read(ctx, found)
}

// compact returns the topics without repetitions.
func compact(topics []string) []string {
	if len(topics) < 2 {
		return topics
	}
	t := slices.Clone(topics)
	slices.Sort(t)
	return slices.Compact(t)
}
