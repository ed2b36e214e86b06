package store

import (
	"bytes"
	"slices"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// tx is what a command may look at and change. It lives in the committer and
// only as long as the command.
type tx struct {
	s       *Store
	g       *group
	at      int64
	began   time.Time // of a part of a large change; see enough
	hops    int       // see picloud.MaxHops
	catalog *catalog
	copied  bool // the catalog is the command's own
	changes []change
	derived []change // what follows from the changes, and is not in the journal
	revoked []picloud.Revocation
	blobs   []string // that no row names after the commit
	err     error    // a staged row that does not decode: a programmer's error
}

// stageChanges runs fn and turns what it put into one atomic unit of records. A
// command that fails or changes nothing leaves no trace.
func (s *Store) stageChanges(g *group, fn func(tx *tx) error) error {
	t := tx{s: s, g: g, at: g.at, catalog: g.catalog}
	g.seen.table = 0
	err := fn(&t)
	if err == nil {
		err = t.err
	}
	if err != nil {
		g.uncount()
		return err
	}
	if t.copied {
		g.catalog, g.changed = t.catalog, true
	}
	if len(t.changes) > 0 {
		s.record(g, t.changes, t.hops)
	}
	g.changes = append(g.changes, t.derived...)
	g.settle()
	for i := range t.revoked {
		g.notices = append(g.notices, notice{revocation: &t.revoked[i]})
	}
	return nil
}

// stageCommand is stageChanges for what a caller asked for.
func (s *Store) stageCommand(g *group, c *command) error {
	return s.stageChanges(g, func(tx *tx) error {
		err := c.fn(tx)
		if err == nil {
			err = tx.withinQuota()
		}
		c.blobs = tx.blobs
		return err
	})
}

// record stages changes as one unit, to which a number of deliveries led.
func (s *Store) record(g *group, changes []change, hops int) {
	for i, c := range changes {
		g.records = append(g.records, journal.Record{
			Kind: kindChange, More: i < len(changes)-1, Seq: uint64(max(hops, 0)), At: g.at, Body: g.hold(c.append), // #nosec G115 -- not negative
		})
		g.size += recordCost + len(c.key) + len(c.value)
	}
	g.changes = append(g.changes, changes...)
}

// app finds the app that a change is about. It notes what the change follows from.
func (t *tx) app(name string, by picloud.Cause) error {
	row, err := t.catalog.app(name)
	if err != nil {
		return err
	}
	if by.Incarnation != 0 && by.Incarnation != row.Incarnation {
		return picloud.ErrAppNotFound.Detailf("the app %q was deleted meanwhile; the one that has its name now is another", name)
	}
	t.hops = by.Hops
	return nil
}

// put stages a row.
func (t *tx) put(tb table, key string, row any) {
	t.change(change{table: tb, key: []byte(key), value: cborEncode(row)})
}

// remove stages the end of a row.
func (t *tx) remove(tb table, key string) { t.change(change{table: tb, key: []byte(key)}) }

// change stages a row, or its end, with what follows from it.
func (t *tx) change(c change) { t.stage(c, &cause{lsn: t.lsn(), at: t.at, hops: t.hops}) }

// stage is change for a row that comes by a cause; nil: one that came back, of which
// triggers are not told again.
func (t *tx) stage(c change, by *cause) {
	if c.table.inCatalog() && !t.copied {
		t.catalog, t.copied = t.catalog.copy(), true
	}
	if k := c.table.kind(); k.staged != nil {
		k.staged(t, c)
	}
	t.count(c)
	derived, err := t.catalog.apply(c, stateBefore{catalog: t.catalog, get: t.get, tables: t.s.tables}, by)
	t.derived = append(t.derived, derived...)
	if err != nil && t.err == nil {
		t.err = err
	}
	t.changes = append(t.changes, c)
	t.g.see(c.table, c.key, c.value)
}

// lsn is what the next change gets.
func (t *tx) lsn() uint64 { return t.s.nextLSN(t.g) + uint64(len(t.changes)) }

// get returns a row as it is with all that was staged before; nil: there is none.
func (t *tx) get(tb table, key []byte) []byte {
	if seen := &t.g.seen; seen.table == tb && bytes.Equal(seen.key, key) {
		return seen.value
	}
	v := t.find(tb, key)
	t.g.see(tb, key, v)
	return v
}

// find is get for a row that was not looked at last.
func (t *tx) find(tb table, key []byte) []byte {
	for _, c := range slices.Backward(t.changes) {
		if c.table == tb && bytes.Equal(c.key, key) {
			return c.value
		}
	}
	if v, ok := t.g.staged(tb, key); ok {
		return v
	}
	return t.s.tables.get(tb, key)
}

// partTime is how long a part of a large change may take: others wait for it.
const partTime = 5 * time.Millisecond

// enough reports whether the command at hand, which is a part of a large change, has
// worked for as long as it may since this was first asked.
func (t *tx) enough() bool {
	if t.began.IsZero() {
		t.began = time.Now()
		return false
	}
	return time.Since(t.began) > partTime
}

// removeSome stages the end of rows for as long as a part may take. It reports whether
// that was all of them.
func (t *tx) removeSome(tb table, keys []string) (all bool) {
	for _, k := range keys {
		if t.enough() {
			return false
		}
		t.remove(tb, k)
	}
	return true
}

// revoke tells the broadcaster, after the commit, that a right has ended.
func (t *tx) revoke(r picloud.Revocation) { t.revoked = append(t.revoked, r) }

// nextLSN is what the next record gets that a group takes in.
func (s *Store) nextLSN(g *group) uint64 {
	return uint64(s.journal.Written()) + 1 + uint64(len(g.records))
}
