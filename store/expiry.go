package store

import (
	"encoding/binary"
	"time"
)

// Entries that have come to their end are not shown any more. The committer
// removes them when it has time, by the order of their ends.

// expireChunk bounds the entries that are removed in one commit.
const expireChunk = 500

func expiryKey(expires int64, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(expires)), key...) // #nosec G115 -- positive
}

// untilExpiry is how long it takes until the next entry comes to its end.
func (s *Store) untilExpiry() time.Duration {
	next := s.commit.nextExpiry
	if next == never {
		return time.Hour
	}
	return time.Duration(min(next-micros(s.cfg.Now()), time.Hour.Microseconds())) * time.Microsecond
}

// expire removes entries that have come to their end. It is no harm when the
// plug is pulled before that is on the card: they come to their end again.
func (s *Store) expire() error {
	now := micros(s.cfg.Now())
	if s.readOnly || now < s.commit.nextExpiry || s.space.full.Load() {
		return nil
	}
	var due []string
	s.commit.nextExpiry = never
	s.tables.scan(tableExpiry, "", "", func(k string, _ []byte) bool {
		at := int64(binary.BigEndian.Uint64([]byte(k[:8]))) // #nosec G115 -- as it was written
		if at > now || len(due) == expireChunk {
			s.commit.nextExpiry = at
			return false
		}
		due = append(due, k)
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

// expire removes the entries that the rows of tableExpiry tell of, unless they
// were changed since, and those rows.
func (t *tx) expire(due []string) error {
	for _, k := range due {
		key := []byte(k[8:])
		if b := t.get(tableKV, key); b != nil {
			r, err := decodeEntryRow(b)
			if err != nil {
				return err
			}
			if !r.alive(t.at) {
				t.remove(tableKV, string(key))
			}
		}
		t.derived = append(t.derived, change{table: tableExpiry, key: []byte(k)})
	}
	return nil
}
