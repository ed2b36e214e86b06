package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

const tableGivenUp table = 35 // app, zero byte, trigger id, zero byte: deliveries whose records are gone

// Waiting deliveries end without being carried out when the journal has no room for
// what they are about. That is told: by a dead letter of the trigger, which counts
// them, by the status of the trigger, in metrics and in the log.
//
// One row gives up all positions of a trigger below an LSN, so that making room in the
// journal does not fill it.
var givenUpKind = rowKind{name: "counts of deliveries given up", data: true, derive: deriveGivenUp}

// givenUpRow says which positions of a trigger are given up, and how many were.
type givenUpRow struct {
	Below uint64 // all positions below this LSN
	Count uint64 // ever
}

// deriveGivenUp removes the positions that a row gives up, and what is known of their
// attempts.
func deriveGivenUp(ch change, e stateBefore) (removed []change, err error) {
	if ch.value == nil {
		return nil, nil
	}
	row, err := decodeAs[givenUpRow](ch.value)
	if err != nil {
		return nil, err
	}
	end := string(binary.BigEndian.AppendUint64(bytes.Clone(ch.key), row.Below))
	e.tables.scan(tableWaiting, string(ch.key), "", func(key string, _ []byte) bool {
		if key >= end {
			return false
		}
		removed = append(removed, change{table: tableWaiting, key: []byte(key)})
		return true
	})
	e.tables.scan(tableAttempt, string(ch.key), "", func(key string, _ []byte) bool {
		if key >= end {
			return false
		}
		if e.get(tableDelivery, []byte(key)) == nil { // else it holds its data
			removed = append(removed, change{table: tableAttempt, key: []byte(key)})
		}
		return true
	})
	return removed, nil
}

// GiveUp gives deliveries of a trigger up whose records are gone. Losing the note in a
// crash makes that happen again.
func (s *Store) GiveUp(ctx context.Context, t picloud.Trigger, lsns []uint64) error {
	return s.doSoft(ctx, t.App, func(tx *tx) error {
		var lost lostRange
		for _, lsn := range lsns {
			if tx.removeDelivery(deliveryKey(t.App, t.ID, &lsn)) {
				lost.add(lsn, 1)
			}
		}
		return tx.giveUp(t, lost, 0)
	})
}

// GivenUp returns how many deliveries of a trigger were given up because their records
// were gone, ever.
func (s *Store) GivenUp(t picloud.Trigger) uint64 {
	b := s.tables.get(tableGivenUp, []byte(deliveryKey(t.App, t.ID, nil)))
	if b == nil {
		return 0
	}
	r, _ := decodeAs[givenUpRow](b) // a count that cannot be read is none
	return r.Count
}

// lostRange counts records of which deliveries are given up.
type lostRange struct {
	first, last uint64
	count       uint64
}

func (r *lostRange) add(lsn, n uint64) {
	if r.count == 0 {
		r.first = lsn
	}
	r.first, r.last, r.count = min(r.first, lsn), max(r.last, lsn), r.count+n
}

// giveUp notes that deliveries of a trigger are given up, and all its positions below an
// LSN with them; 0: no others.
func (t *tx) giveUp(tr picloud.Trigger, lost lostRange, below uint64) error {
	if lost.count == 0 {
		return nil
	}
	key := deliveryKey(tr.App, tr.ID, nil)
	var row givenUpRow
	if b := t.get(tableGivenUp, []byte(key)); b != nil {
		if err := cborDecode(b, &row); err != nil {
			return err
		}
	}
	row.Below, row.Count = max(row.Below, below), row.Count+lost.count
	t.put(tableGivenUp, key, row)
	t.s.metrics.givenUp.Add(int(lost.count)) // #nosec G115 -- bounded by what the journal holds
	t.s.log.Warn("deliveries were given up: their records are gone", slog.String("app", tr.App), slog.String("trigger", tr.Name),
		slog.Uint64("count", lost.count), slog.Uint64("first", lost.first), slog.Uint64("last", lost.last))
	return t.putGivenUpLetter(tr, lost)
}

// givenUpLetter is the id of the dead letter that counts deliveries of a trigger whose
// records are gone. There is one of a trigger at most.
func givenUpLetter(tr picloud.Trigger) string { return "given-up-" + tr.ID }

// putGivenUpLetter makes the dead letter that tells of deliveries that are given up, or
// counts them in the one that does. Triggers of dead letters are told of a new one.
func (t *tx) putGivenUpLetter(tr picloud.Trigger, lost lostRange) error {
	key := pair(tr.App, givenUpLetter(tr))
	var row deadLetterRow
	l := &row.Letter
	if b := t.get(tableDeadLetter, []byte(key)); b != nil {
		if err := cborDecode(b, &row); err != nil {
			return err
		}
		lost.add(l.LSN, l.GivenUp)
	} else {
		*l = picloud.DeadLetter{
			ID: givenUpLetter(tr), App: tr.App, Trigger: tr.Name, TriggerID: tr.ID, What: picloud.Happening{Kind: tr.Kind, At: fromMicros(t.at)}, CreatedAt: fromMicros(t.at),
		}
		if tr.Kind == picloud.TriggerDeadLetter { // a failure of those makes no dead letters for others
			row.Version = 1
		} else {
			l.HandledBy = t.deadLetterTriggers(tr)
		}
	}
	row.Version++
	l.LSN, l.GivenUp = lost.first, lost.count
	l.Reason = fmt.Sprintf("%d deliveries, of records %d to %d, were given up: the journal had no room to keep what they were about until the script got to it, or cannot read it. Make the script faster or let more of it run at once (concurrency), or raise storage.journal_bytes. They cannot be redriven; purge this letter when it has served.",
		lost.count, lost.first, lost.last)
	return t.putDeadLetter(row)
}

// giveUpBelow gives up what waits for records that the journal is about to drop.
// picloud.ErrNoSpace when that cannot be noted. Called by the committer.
func (s *Store) giveUpBelow(below journal.LSN) error {
	for key, r := range s.lostBelow(below) {
		g := s.commit.group
		s.beginGroup(g)
		err := s.stageChanges(g, func(tx *tx) error {
			if b, ok := tx.catalog.behind().Get(key); ok && b.Next < uint64(below) {
				b.Next = uint64(below)
				tx.put(tableBehind, key, b)
			}
			app, id, _ := strings.Cut(key, "\x00")
			if tr, ok := tx.catalog.triggerByID(app, id); ok {
				return tx.giveUp(tr, r, uint64(below))
			}
			return nil // it is being deleted, with all of its deliveries
		})
		if err != nil {
			return err
		}
		before := s.journal.Written()
		if err := s.commitGroup(g); err != nil {
			return err
		}
		if len(g.records) > 0 && s.journal.Written() == before {
			return picloud.ErrNoSpace
		}
	}
	return nil
}

// lostBelow counts the deliveries that wait for records below an LSN: by app, zero byte,
// trigger id. Triggers that are behind are in it, too, when the journal has for them
// what they do not match.
func (s *Store) lostBelow(below journal.LSN) map[string]lostRange {
	lost := map[string]lostRange{}
	for id, c := range s.tables.pending.all() {
		var r lostRange
		s.tables.scan(tableWaiting, deliveryKey(c.app, id, nil), "", func(key string, _ []byte) bool {
			_, lsn, _ := splitDeliveryKey(key)
			if lsn >= uint64(below) {
				return false
			}
			r.add(lsn, 1)
			return true
		})
		if r.count > 0 {
			lost[pair(c.app, id)] = r
		}
	}
	s.countBehind(uint64(below), lost)
	return lost
}

// oldestWaiting returns the oldest record that some delivery waits for, or that a
// trigger has not come to; never when there is none.
func (s *Store) oldestWaiting() journal.LSN {
	oldest := uint64(never)
	for id, c := range s.tables.pending.all() {
		if c.waiting == 0 {
			continue
		}
		s.tables.scan(tableWaiting, deliveryKey(c.app, id, nil), "", func(key string, _ []byte) bool {
			_, lsn, _ := splitDeliveryKey(key)
			oldest = min(oldest, lsn)
			return false
		})
	}
	for b := range each(s.catalog.Load().behind(), "") {
		oldest = min(oldest, b.Next)
	}
	return journal.LSN(oldest)
}
