package store

import (
	"context"
	"math"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

const tableCursor table = 9 // owner: how far it has come in the journal

var cursorKind = rowKind{
	name:      "cursors",
	recovered: func(s *Store, _ *recovery, ch change) error { return s.cursors.load(ch) },
}

// Cursors tell how far the readers of the journal have come. A record is kept until
// every one of them has passed it.
//
// They are notes: they reach the journal with a later commit, and a lost one
// makes its owner look again at what it has done already.
type cursors struct {
	mu     sync.Mutex
	owners map[string]*cursor
	dirty  bool
	staged time.Time // when they were last taken along, by a time that does not jump
}

// cursor is how far one owner has come, and when it passed where.
type cursor struct {
	lsn   uint64
	marks []mark // rising; the newest tells of lsn
	pins  bool   // the journal keeps what it has not passed
}

// mark says that everything up to LSN was done at a time.
type mark struct {
	LSN uint64 `cbor:"1,keyasint"`
	At  int64  `cbor:"2,keyasint"`
}

// cursorRow is a cursor as it is kept, with a few of its marks.
type cursorRow struct {
	LSN   uint64 `cbor:"1,keyasint"`
	Marks []mark `cbor:"2,keyasint"`
}

const (
	cursorEvery = time.Second // how often a busy node writes cursors down
	maxMarks    = 4096        // in memory
	keptMarks   = 16          // in the journal
)

// Cursor returns how far an owner has come.
func (s *Store) Cursor(owner string) picloud.Cursor {
	s.cursors.mu.Lock()
	defer s.cursors.mu.Unlock()
	c := s.cursors.owners[owner]
	if c == nil {
		return picloud.Cursor{}
	}
	out := picloud.Cursor{LSN: c.lsn}
	if n := len(c.marks); n > 0 {
		out.At = fromMicros(c.marks[n-1].At)
	}
	return out
}

// MoveCursor notes that an owner has done everything up to an LSN. It may go
// back: then the reader gets what lies between again.
func (s *Store) MoveCursor(owner string, lsn uint64) {
	now := micros(s.cfg.Now())
	s.cursors.mu.Lock()
	defer s.cursors.mu.Unlock()
	c := s.cursors.owner(owner)
	if c.lsn == lsn {
		return
	}
	c.move(lsn, now)
	s.cursors.dirty = true
	s.wake() // records that all have passed may be dropped
}

func (u *cursors) owner(name string) *cursor {
	c := u.owners[name]
	if c == nil {
		c = new(cursor)
		u.owners[name] = c
	}
	return c
}

func (c *cursor) move(lsn uint64, now int64) {
	for len(c.marks) > 0 && c.marks[len(c.marks)-1].LSN >= lsn {
		c.marks = c.marks[:len(c.marks)-1]
	}
	c.lsn = lsn
	c.marks = append(c.marks, mark{LSN: lsn, At: now})
	if len(c.marks) > maxMarks {
		c.marks = thin(c.marks, maxMarks/2)
	}
}

// thin returns n of the marks, the newest ones densest. Each mark that is left
// stays true: what a dropped one told is told, a little later, by the next.
func thin(marks []mark, n int) []mark {
	if len(marks) <= n {
		return marks
	}
	recent := n / 2
	old, out := marks[:len(marks)-recent], make([]mark, 0, n)
	for i := range n - recent {
		out = append(out, old[(i+1)*len(old)/(n-recent)-1])
	}
	return append(out, marks[len(marks)-recent:]...)
}

// passed returns when an owner had done a record, at the latest; zero: it has
// not.
func (u *cursors) passed(owner string, lsn uint64) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.owners[owner]
	if c == nil || lsn > c.lsn {
		return time.Time{}
	}
	i := sort.Search(len(c.marks), func(i int) bool { return c.marks[i].LSN >= lsn })
	if i == len(c.marks) {
		return time.Time{}
	}
	return fromMicros(c.marks[i].At)
}

// oldestPending returns the oldest LSN that some owner has not done.
func (u *cursors) oldestPending() journal.LSN {
	u.mu.Lock()
	defer u.mu.Unlock()
	oldest := uint64(math.MaxUint64)
	for _, c := range u.owners {
		if c.pins {
			oldest = min(oldest, c.lsn+1)
		}
	}
	return journal.LSN(oldest)
}

// load takes a row of the cursor table in. Those of owners that are not
// configured any more are kept: they may come back.
func (u *cursors) load(c change) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if c.value == nil {
		delete(u.owners, string(c.key))
		return nil
	}
	var row cursorRow
	if err := cborDecode(c.value, &row); err != nil {
		return err
	}
	o := u.owner(string(c.key))
	o.lsn, o.marks = row.LSN, row.Marks
	return nil
}

// stage adds the cursors to a group that is going to be written anyway, so that
// an idle node stays silent.
func (u *cursors) stage(s *Store, g *group) {
	u.mu.Lock()
	due := u.dirty && time.Since(u.staged) >= cursorEvery
	u.mu.Unlock()
	if due && len(g.records) > 0 {
		u.stageAll(s, g)
	}
}

// stageAll adds the cursors that have moved.
func (u *cursors) stageAll(s *Store, g *group) {
	u.mu.Lock()
	dirty := u.dirty
	u.dirty, u.staged = false, time.Now()
	u.mu.Unlock()
	if dirty {
		s.record(g, u.rows(), 0)
	}
}

// rows returns puts that make the cursors what they are.
func (u *cursors) rows() []change {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []change
	for name, c := range u.owners {
		row := cursorRow{LSN: c.lsn, Marks: thin(c.marks, keptMarks)}
		out = append(out, change{table: tableCursor, key: []byte(name), value: cborEncode(row)})
	}
	return out
}

// limit takes cursors back that point behind the end of the journal.
func (u *cursors) limit(last uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.owners {
		if c.lsn > last {
			c.move(last, 0)
			u.dirty = true
		}
	}
}

// Wait returns when a record after the given one is durable, or with ctx's
// cause.
func (s *Store) Wait(ctx context.Context, after uint64) error {
	return s.journal.Wait(ctx, journal.LSN(after))
}

// LastLSN returns the newest durable record.
func (s *Store) LastLSN() uint64 { return uint64(s.journal.Synced()) }

// RecordsAfter returns how many durable records there are at most after an LSN. LSNs
// that this start has passed over do not count; those that earlier ones have, do.
func (s *Store) RecordsAfter(lsn uint64) uint64 {
	last := s.LastLSN()
	if last <= lsn {
		return 0
	}
	n := last - lsn
	if first, upTo := max(lsn+1, s.passed.first), min(last, s.passed.last); first <= upTo {
		n -= upTo - first + 1
	}
	return n
}

// central fills in how durable events are that have passed to the central copy.
func (s *Store) central(ev *picloud.Event, lsn journal.LSN) {
	if !slices.Contains(s.cfg.Readers, picloud.Central) {
		return
	}
	if at := s.cursors.passed(picloud.Central, uint64(lsn)); !at.IsZero() {
		ev.Durability, ev.CentralAt = picloud.DurabilityCentral, at
	}
}
