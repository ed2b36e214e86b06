package store

import (
	"encoding/binary"
	"time"
)

const tableExpiry table = 13 // time, key of a row: when it comes to its end; the value is its table

// The ends of rows follow from the rows.
var expiryKind = rowKind{name: "ends of rows"}

// Rows that have come to their end are not shown any more. The committer removes
// them when it has time, by the order of their ends.

// expireChunk bounds the entries that are removed in one commit.
const expireChunk = 500

func expiryKey(expires int64, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(expires)), key...) // #nosec G115 -- positive
}

// expiryOf returns the row that brings another to its end.
func expiryOf(ch change, at int64) change {
	return change{table: tableExpiry, key: expiryKey(at, ch.key), value: []byte{byte(ch.table)}}
}

// deriveExpiry returns the rows that come and go with the end of a row, which was
// before as it was.
func (k *rowKind) deriveExpiry(ch change, before []byte) (derived []change, err error) {
	var was, is int64
	if before != nil {
		was, _ = k.expires(before) // one that cannot be read must not keep the next from taking its place
	}
	if ch.value != nil {
		if is, err = k.expires(ch.value); err != nil {
			return nil, err
		}
	}
	if was != 0 && was != is {
		derived = append(derived, change{table: tableExpiry, key: expiryKey(was, ch.key)})
	}
	if is != 0 {
		derived = append(derived, expiryOf(ch, is))
	}
	return derived, nil
}

// untilExpiry is how long it takes until the next entry comes to its end.
func (s *Store) untilExpiry() time.Duration {
	next := s.commit.nextExpiry
	if next == never {
		return time.Hour
	}
	return time.Duration(min(next-micros(s.Now()), time.Hour.Microseconds())) * time.Microsecond
}

// expire removes entries that have come to their end. It is no harm when the
// plug is pulled before that is on the card: they come to their end again.
func (s *Store) expire() error {
	now := micros(s.Now())
	if s.readOnly || now < s.commit.nextExpiry {
		return nil
	}
	var due []dueRow
	s.commit.nextExpiry = never
	s.tables.scan(tableExpiry, "", "", func(k string, v []byte) bool {
		at := int64(binary.BigEndian.Uint64([]byte(k[:8]))) // #nosec G115 -- as it was written
		if at > now || len(due) == expireChunk {
			s.commit.nextExpiry = at
			return false
		}
		due = append(due, dueRow{expiry: k, table: table(v[0]), key: []byte(k[8:])})
		return true
	})
	if len(due) == 0 {
		return nil
	}
	g := s.commit.group
	s.beginGroup(g)
	if err := s.stageChanges(g, func(tx *tx) error { return tx.expire(due) }); err != nil {
		return err
	}
	if err := s.commitGroup(g); err != nil {
		return err
	}
	if s.space.full.Load() { // nothing was removed
		s.commit.nextExpiry = now + checkEvery.Microseconds()
	}
	return nil
}

// dueRow is a row of tableExpiry whose time has come.
type dueRow struct {
	expiry string // its key
	table  table  // of the row that it is about
	key    []byte // of that
}

// expire removes what has come to its end, unless it was changed since, and the rows
// that told so.
func (t *tx) expire(due []dueRow) error {
	for _, d := range due {
		if b := t.get(d.table, d.key); b != nil {
			end, err := d.table.kind().expires(b)
			if err != nil {
				return err
			}
			if end != 0 && end <= t.g.now {
				t.remove(d.table, string(d.key))
			}
		}
		t.derived = append(t.derived, change{table: tableExpiry, key: []byte(d.expiry)})
	}
	return nil
}
