package store

import (
	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// tx is what a command may look at and change. It lives in the committer and
// only as long as the command.
type tx struct {
	s       *Store
	at      int64
	catalog *catalog
	changes []change
	revoked []picloud.Revocation
	err     error // a staged row that does not decode: a programmer's error
}

// stageChanges runs fn and turns what it put into one atomic unit of records. A
// command that fails or changes nothing leaves no trace.
func (s *Store) stageChanges(g *group, fn func(tx *tx) error) error {
	t := tx{s: s, at: g.at, catalog: g.catalog.copy()}
	if err := fn(&t); err != nil {
		return err
	}
	if t.err != nil {
		return t.err
	}
	if len(t.changes) > 0 {
		g.catalog, g.changed = t.catalog, true
		s.record(g, t.changes)
	}
	for i := range t.revoked {
		g.notices = append(g.notices, notice{revocation: &t.revoked[i]})
	}
	return nil
}

// record stages changes as one unit.
func (s *Store) record(g *group, changes []change) {
	for i, c := range changes {
		g.records = append(g.records, journal.Record{
			Kind: kindChange, More: i < len(changes)-1, At: g.at, Body: g.hold(c.append),
		})
		g.size += recordCost + len(c.key) + len(c.value)
	}
	g.changes = append(g.changes, changes...)
}

// put stages a row.
func (t *tx) put(tb table, key string, row any) {
	t.change(change{table: tb, key: []byte(key), value: cborEncode(row)})
}

// remove stages the end of a row.
func (t *tx) remove(tb table, key string) { t.change(change{table: tb, key: []byte(key)}) }

func (t *tx) change(c change) {
	if err := t.catalog.apply(c, t.s.sequenceOf); err != nil && t.err == nil {
		t.err = err
	}
	t.changes = append(t.changes, c)
}

// revoke tells the broadcaster, after the commit, that a right has ended.
func (t *tx) revoke(r picloud.Revocation) { t.revoked = append(t.revoked, r) }

// sequenceOf returns the counter of an app name, which is made when missing.
func (s *Store) sequenceOf(app string) *sequence {
	q := s.commit.sequences[app]
	if q == nil {
		q = new(sequence)
		s.commit.sequences[app] = q
	}
	return q
}
