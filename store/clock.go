package store

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

const tableClock table = 11 // boot: a start of the board whose clock could not be believed at first

var clockKind = rowKind{
	name: "clocks", catalog: inMemory[clockRow], node: true,
	copied: clockCopier{},
}

func (c *catalog) clocks() *btree.Map[string, clockRow] { return rowsOf[clockRow](c, tableClock) }

// Clock is what is known of the clock of the board.
type Clock struct {
	Synced bool          // it can be believed
	Boot   string        // names this start of the board; at most 64 bytes
	Uptime time.Duration // since then, sleep included
}

// clockWatch knows whether the clock can be believed, and when that changes.
// It belongs to the committer.
type clockWatch struct {
	read      func() Clock // nil: it always can
	boot      string
	synced    bool      // it can, from now on
	corrected bool      // and every event that waited for that has been put right
	open      bool      // the newest range is of an earlier start, and nothing says yet where it ends
	checked   time.Time // by a time that does not jump
}

// clockEvery is how often a node that waits for its clock looks at it.
const clockEvery = 5 * time.Second

// look returns what events have to say about the clock: nil once it can be
// believed.
func (w *clockWatch) look(at int64, b *belief) *picloud.Stamp {
	if w.synced || w.corrected {
		return nil
	}
	c := w.read()
	w.checked = time.Now()
	if c.Synced {
		w.synced = true
		b.sure.Store(true)
		return nil
	}
	return &picloud.Stamp{Boot: c.Boot, Started: fromMicros(at - c.Uptime.Microseconds())}
}

// clockRow is what is kept of a start of the board whose clock could not be
// believed: when it truly was; zero: not known yet.
type clockRow struct {
	Started time.Time    `cbor:"1,keyasint"`
	Guessed []guessRange `cbor:"2,keyasint,omitempty"` // oldest first: those of earlier starts, too
}

// guessRange is a part of the journal that was written while the clock could not be
// believed.
type guessRange struct {
	First journal.LSN `cbor:"1,keyasint"`
	Last  journal.LSN `cbor:"2,keyasint,omitempty"` // 0: it goes on
	Began int64       `cbor:"3,keyasint"`           // the start of the board, by that clock; microseconds
	Off   int64       `cbor:"4,keyasint,omitempty"` // by how much that clock was behind, microseconds; 0: not known
}

// maxGuessed bounds the ranges that are kept.
const maxGuessed = 64

func (r *guessRange) has(lsn journal.LSN) bool {
	return lsn >= r.First && (r.Last == 0 || lsn <= r.Last)
}

// guessed returns the ranges, oldest first. Callers must not change them.
func (c *catalog) guessed() (list []guessRange) {
	c.clocks().Scan(func(_ string, r clockRow) bool {
		if len(r.Guessed) > len(list) {
			list = r.Guessed
		}
		return true
	})
	return list
}

// guessedIn returns those of ranges that touch a part of the journal.
func guessedIn(ranges []guessRange, first, last journal.LSN) []guessRange {
	return slices.DeleteFunc(slices.Clone(ranges), func(r guessRange) bool { return r.First > last || r.Last != 0 && r.Last < first })
}

// timeOf returns when a record was written; ok is false when that is not known.
func timeOf(ranges []guessRange, lsn journal.LSN, at int64) (_ int64, ok bool) {
	for i := range ranges {
		if ranges[i].has(lsn) {
			return at + ranges[i].Off, ranges[i].Off != 0
		}
	}
	return at, at >= plausible
}

// plausible is when the clock of a board must at least have been set: what was stamped
// before, by a version that kept no ranges, has no age that is known.
var plausible = micros(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))

// clockCopier exports when the board was started; nil: that is not known. It is
// not restored: another board was started then.
type clockCopier struct{}

func (clockCopier) kind() picloud.ChangeKind { return picloud.ChangeClock }

func (clockCopier) most() int { return 0 }

func (clockCopier) export(_ string, row []byte) (any, error) {
	r, err := decodeAs[clockRow](row)
	if err != nil || r.Started.IsZero() {
		return nil, err
	}
	return r.Started.UTC(), nil
}

func (clockCopier) restore(*restorer, any) ([]change, error) { return nil, nil }

func (clockCopier) mend(_ string, row []byte) ([]byte, error) {
	_, err := decodeAs[clockRow](row)
	return nil, err
}

func (s *Store) openClock() {
	s.commit.clock = clockWatch{read: s.cfg.Clock, corrected: s.cfg.Clock == nil}
	if s.cfg.Clock != nil {
		c := s.cfg.Clock()
		s.commit.clock.boot, s.belief.opened = c.Boot, c.Uptime
		s.belief.sure.Store(c.Synced)
	}
	ranges := s.catalog.Load().guessed()
	_, own := s.clockRow()
	s.commit.clock.open = len(ranges) > 0 && ranges[len(ranges)-1].Last == 0 && !own
}

// clockRow returns what is kept of this start of the board.
func (s *Store) clockRow() (row clockRow, ok bool) {
	return s.catalog.Load().clocks().Get(s.commit.clock.boot)
}

// clockWaits reports whether events of this start of the board wait for the
// clock.
func (s *Store) clockWaits() bool {
	if s.commit.clock.corrected {
		return false
	}
	row, ok := s.clockRow()
	return ok && row.Started.IsZero()
}

// stageClock notes, with the first event that needs it, that the clock cannot
// be believed; and once it can, when the board truly was started, from which
// everybody can tell when those events were.
func (s *Store) stageClock(g *group) error {
	w := &s.commit.clock
	if w.open && len(g.records) > 0 && g.stamp == nil {
		w.open = false
		return s.stageChanges(g, func(tx *tx) error {
			tx.catalog.clocks().Scan(func(boot string, row clockRow) bool {
				row.Guessed = s.closed(row.Guessed)
				tx.put(tableClock, boot, row)
				return true
			})
			return nil
		})
	}
	if w.corrected {
		return nil
	}
	row, noted := s.clockRow()
	switch {
	case g.stamp != nil && !noted && len(g.records) > 0:
		w.open = false
		return s.stageChanges(g, func(tx *tx) error {
			ranges := s.closed(tx.catalog.guessed())
			for _, old := range tx.catalog.clocks().Keys() {
				tx.remove(tableClock, old) // whatever it was stays unknown
			}
			ranges = append(ranges, guessRange{First: s.journal.Written() + 1, Began: micros(g.stamp.Started)})
			tx.put(tableClock, w.boot, clockRow{Guessed: ranges[max(0, len(ranges)-maxGuessed):]})
			return nil
		})
	case w.synced && s.clockWaits():
		s.log.Info("clock can be believed from now on")
		g.hard = true
		return s.stageChanges(g, func(tx *tx) error {
			started := g.at - w.read().Uptime.Microseconds()
			ranges := s.closed(row.Guessed)
			if n := len(ranges); n > 0 {
				ranges[n-1].Off = started - ranges[n-1].Began
			}
			tx.put(tableClock, w.boot, clockRow{Started: fromMicros(started), Guessed: ranges})
			return nil
		})
	case w.synced:
		w.corrected = true
	}
	return nil
}

// closed returns a copy of ranges of which the newest ends with what is written, without
// those of which the journal has nothing any more.
func (s *Store) closed(ranges []guessRange) []guessRange {
	var oldest journal.LSN
	if segments := s.journal.Segments(); len(segments) > 0 {
		oldest = segments[0].Base
	}
	ranges = slices.DeleteFunc(slices.Clone(ranges), func(r guessRange) bool { return r.Last != 0 && r.Last < oldest })
	if n := len(ranges); n > 0 && ranges[n-1].Last == 0 {
		ranges[n-1].Last = s.journal.Written()
	}
	return ranges
}

// watchesClock reports whether the committer has to look at the clock now and then.
func (s *Store) watchesClock() bool { return s.clockWaits() || !s.belief.sure.Load() }

// watchClock looks at the clock when events, or the ends of rows, wait for it and
// nothing else does.
func (s *Store) watchClock() error {
	if !s.watchesClock() || time.Since(s.commit.clock.checked) < clockEvery {
		return nil
	}
	g := s.commit.group
	s.beginGroup(g)
	if err := s.stageClock(g); err != nil {
		return err
	}
	return s.commitGroup(g)
}

// beginGroup begins a group with what time it is.
func (s *Store) beginGroup(g *group) {
	g.begin(s.catalog.Load(), micros(s.cfg.Now()))
	g.stamp = s.commit.clock.look(g.at, &s.belief)
	g.now = micros(s.Now())
}

// belief is what the node takes for the time where something ends by it.
type belief struct {
	sure   atomic.Bool   // the clock can be believed
	known  atomic.Int64  // microseconds: when it last could be, as far as the directory tells; 0: never
	opened time.Duration // uptime of the board when the store was opened
}

// Now returns the time by which keys, tokens, results, rows and events come to their
// end. While the clock can be believed that is what it says. Before, it is the last time
// that was known and what the board has been up since: never later than the truth, and
// never so much earlier that what had ended by a time that was on the card goes on. A
// board that has never known the time has nothing but its clock.
func (s *Store) Now() time.Time {
	b := &s.belief
	known := b.known.Load()
	if known == 0 || b.sure.Load() {
		return s.cfg.Now()
	}
	return fromMicros(known).Add(max(0, s.cfg.Clock().Uptime-b.opened))
}

// TimeKnown reports whether Now goes by a time that was believed once. It is false on a board
// that has never known the time.
func (s *Store) TimeKnown() bool { return s.belief.sure.Load() || s.belief.known.Load() != 0 }

// ClockSure reports whether the clock can be believed.
func (s *Store) ClockSure() bool { return s.belief.sure.Load() }

// last returns the newest time that is known, for the next start; 0: none is.
func (b *belief) last(now func() time.Time) int64 {
	if b.sure.Load() {
		return micros(now())
	}
	return b.known.Load()
}
