package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// Deliveries to triggers follow from the journal: a record and the triggers as
// they are at that record make them, when it is committed and again when it is
// replayed. That a delivery is done, is to be tried again, or was given up are
// changes in the journal.
//
// Such a delivery is a position: where its record is, and what it takes to keep its
// place among others. The data stays in the journal until the delivery runs.

const tableWaiting table = 32 // the key of a delivery that is a position. Follows from the journal

var waitingKind = rowKind{name: "waiting deliveries", data: true, committed: tellDelivery}

// deliveryKey is the key of a delivery: those of a trigger lie together, in the
// order of the records they are about. Without an LSN it begins all their keys.
func deliveryKey(app, trigger string, lsn *uint64) string {
	k := pair(app, trigger) + "\x00"
	if lsn == nil {
		return k
	}
	return k + string(binary.BigEndian.AppendUint64(nil, *lsn))
}

// splitDeliveryKey returns the trigger and the LSN that deliveryKey has joined.
func splitDeliveryKey(key string) (trigger string, lsn uint64, ok bool) {
	_, rest, _ := strings.Cut(key, "\x00")
	trigger, rest, ok = strings.Cut(rest, "\x00")
	if !ok || len(rest) != 8 {
		return "", 0, false
	}
	return trigger, binary.BigEndian.Uint64([]byte(rest)), true
}

// deliveryTrigger returns the app and the trigger that the key of a delivery begins with.
func deliveryTrigger(key string) (app, trigger string, ok bool) {
	app, rest, _ := strings.Cut(key, "\x00")
	trigger, _, ok = strings.Cut(rest, "\x00")
	return app, trigger, ok
}

// waitingRow is a delivery that is a position.
type waitingRow struct {
	order uint32 // of what it is about, see orderOf
	at    uint32 // the lower half of when it was committed: tells its record from others
}

const (
	waitingVersion = 1
	waitingSize    = 9
)

// encode writes: version u8 · order u32 · at u32, little endian.
func (r waitingRow) encode() []byte {
	b := make([]byte, 0, waitingSize)
	b = append(b, waitingVersion)
	b = binary.LittleEndian.AppendUint32(b, r.order)
	return binary.LittleEndian.AppendUint32(b, r.at)
}

// decodeWaitingRow reads what encode wrote.
func decodeWaitingRow(b []byte) (waitingRow, error) {
	if len(b) != waitingSize || b[0] != waitingVersion {
		return waitingRow{}, fmt.Errorf("%w: waiting delivery of unknown version", errRecord)
	}
	return waitingRow{order: binary.LittleEndian.Uint32(b[1:]), at: binary.LittleEndian.Uint32(b[5:])}, nil
}

// waitingOf returns the row of a delivery of something that happened.
func waitingOf(what *picloud.Happening) waitingRow {
	return waitingRow{order: orderOf(what), at: uint32(micros(what.At))} // #nosec G115 -- the lower half
}

// orderOf returns a number that deliveries about one topic, key, document or path
// have in common. Two things may have the same, which costs them concurrency in an
// ordered trigger and nothing else.
func orderOf(what *picloud.Happening) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(what.Container)) // cannot fail
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(what.Name))
	return h.Sum32()
}

// matched is a record that triggers are matched against.
type matched struct {
	app  string
	by   string // the key, topic, path … that triggers match
	lsn  uint64
	what picloud.Happening
}

// enqueue returns the deliveries of a record to the triggers that match it, as the
// catalog is with the record. Triggers that are behind come to it later.
func enqueue(c *catalog, m matched) []change {
	if c.triggers().Len() == 0 {
		return nil
	}
	var out []change
	var row []byte
	for t := range each(c.triggers(), pair(m.app, "")) {
		if !t.Enabled || t.Kind != m.what.Kind || !t.Matches(m.by) || c.isBehind(&t) {
			continue
		}
		if row == nil {
			row = waitingOf(&m.what).encode()
		}
		out = append(out, change{table: tableWaiting, key: []byte(deliveryKey(m.app, t.ID, &m.lsn)), value: row})
	}
	return out
}

// eventHappened tells of an event.
func eventHappened(ev *picloud.Event, lsn uint64, hops int) matched {
	return matched{app: ev.App, by: ev.Topic, lsn: lsn, what: picloud.Happening{
		Kind: picloud.TriggerPubSub, At: ev.PublishedAt, Hops: hops, Name: ev.Topic, Position: ev.Position.String(), Source: ev.Source, Data: ev.Data,
	}}
}

// recordHappened returns what a record of the journal tells triggers.
func (s *Store) recordHappened(rec *journal.Record) (m matched, ok bool, err error) {
	switch rec.Kind {
	case kindEvent:
		ev, err := parseEvent(s.ident.epoch, rec)
		return eventHappened(&ev, uint64(rec.LSN), hopsOf(rec)), err == nil, err
	case kindChange:
		ch, err := parseChange(rec.Body)
		if err != nil {
			return m, false, err
		}
		if k := ch.table.kind(); k != nil && k.happened != nil && hopsOf(rec) != cameBack {
			return k.happened(ch, cause{lsn: uint64(rec.LSN), at: rec.At, hops: hopsOf(rec)})
		}
	}
	return m, false, nil
}

// happening returns what a waiting delivery is about, from its record in the journal.
// picloud.ErrDeliveryGone when that is not there, or cannot be read.
func (s *Store) happening(lsn uint64, row waitingRow) (picloud.Happening, error) {
	rec, err := s.journal.ReadAt(journal.LSN(lsn))
	if damage, ok := errors.AsType[*journal.DamageError](err); ok {
		s.journalDamaged(damage)
		return picloud.Happening{}, fmt.Errorf("%w: %w", picloud.ErrDeliveryGone, err)
	}
	if errors.Is(err, journal.ErrGone) {
		return picloud.Happening{}, picloud.ErrDeliveryGone
	}
	if err != nil {
		return picloud.Happening{}, fmt.Errorf("read record %d: %w", lsn, err)
	}
	m, ok, err := s.recordHappened(&rec)
	if err != nil || !ok || waitingOf(&m.what) != row { // another record took its number, after a loss
		return picloud.Happening{}, fmt.Errorf("%w: record %d is another one", picloud.ErrDeliveryGone, lsn)
	}
	return m.what, nil
}
