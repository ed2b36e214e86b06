package store

import (
	"time"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
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
	checked   time.Time // by a time that does not jump
}

// clockEvery is how often a node that waits for its clock looks at it.
const clockEvery = 5 * time.Second

// stamp returns what events have to say about the clock: nil once it can be
// believed.
func (w *clockWatch) stamp(at int64) *picloud.Stamp {
	if w.synced || w.corrected {
		return nil
	}
	c := w.read()
	w.checked = time.Now()
	if c.Synced {
		w.synced = true
		return nil
	}
	return &picloud.Stamp{Boot: c.Boot, Started: fromMicros(at - c.Uptime.Microseconds())}
}

// clockRow is what is kept of a start of the board whose clock could not be
// believed: when it truly was; zero: not known yet.
type clockRow struct {
	Started time.Time `cbor:"1,keyasint"`
}

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
		s.commit.clock.boot = s.cfg.Clock().Boot
	}
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
	if w.corrected {
		return nil
	}
	_, noted := s.clockRow()
	switch {
	case g.stamp != nil && !noted && len(g.records) > 0:
		return s.stageChanges(g, func(tx *tx) error {
			for _, old := range tx.catalog.clocks().Keys() {
				tx.remove(tableClock, old) // whatever it was, nobody will ever know
			}
			tx.put(tableClock, w.boot, clockRow{})
			return nil
		})
	case w.synced && s.clockWaits():
		s.log.Info("clock can be believed from now on")
		g.hard = true
		return s.stageChanges(g, func(tx *tx) error {
			tx.put(tableClock, w.boot, clockRow{Started: fromMicros(g.at - w.read().Uptime.Microseconds())})
			return nil
		})
	case w.synced:
		w.corrected = true
	}
	return nil
}

// watchClock looks at the clock when events wait for it and nothing else does.
func (s *Store) watchClock() error {
	if !s.clockWaits() || time.Since(s.commit.clock.checked) < clockEvery {
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
	g.stamp = s.commit.clock.stamp(g.at)
}
