package store

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/picloud/picloud"
)

// What triggers owe their scripts follows from the journal, like the ends of
// entries: a record and the triggers as they are at that record make the
// deliveries, when it is committed and again when it is replayed. So a change and
// what it owes are there together or not at all, and none of it is written twice.
// That a delivery is done, is to be tried again, or was given up are changes in
// the journal.

// oweKey is the key of a delivery: the deliveries of a trigger lie together, in
// the order of the records they are about.
func oweKey(app, trigger string, lsn *uint64) string {
	k := pair(app, trigger) + "\x00"
	if lsn == nil {
		return k
	}
	return k + string(binary.BigEndian.AppendUint64(nil, *lsn))
}

// splitOweKey returns the trigger and the LSN that oweKey has joined.
func splitOweKey(key string) (trigger string, lsn uint64, ok bool) {
	_, rest, _ := strings.Cut(key, "\x00")
	trigger, rest, ok = strings.Cut(rest, "\x00")
	if !ok || len(rest) != 8 {
		return "", 0, false
	}
	return trigger, binary.BigEndian.Uint64([]byte(rest)), true
}

// owing is a record for which triggers may owe something.
type owing struct {
	catalog *catalog // as it is with the record
	app     string
	match   string // what triggers match
	lsn     uint64
	what    picloud.Happening
}

// owe returns the deliveries that follow from a record.
func owe(o owing) []change {
	if o.catalog.triggers.Len() == 0 {
		return nil
	}
	var out []change
	var row []byte
	for t := range each(o.catalog.triggers, pair(o.app, "")) {
		if !t.Enabled || t.Kind != o.what.Kind || !t.Matches(o.match) {
			continue
		}
		if row == nil {
			row = cborEncode(o.what)
		}
		out = append(out, change{table: tableDelivery, key: []byte(oweKey(o.app, t.ID, &o.lsn)), value: row})
	}
	return out
}

// oweEvent is owe for an event.
func oweEvent(c *catalog, ev *picloud.Event, lsn uint64, hops int) []change {
	if c.triggers.Len() == 0 {
		return nil
	}
	return owe(owing{catalog: c, app: ev.App, match: ev.Topic, lsn: lsn, what: picloud.Happening{
		Kind: picloud.TriggerPubSub, At: ev.PublishedAt, Hops: hops, Name: ev.Topic, Position: ev.Position.String(), Source: ev.Source, Data: ev.Data,
	}})
}

// cause is where a change stands in the journal.
type cause struct {
	lsn  uint64
	at   int64
	hops int // see picloud.WithHops; not known any more when it is replayed
}

// oweChange is owe for a row that was put or deleted.
func oweChange(c *catalog, ch change, by cause) ([]change, error) {
	if c.triggers.Len() == 0 {
		return nil, nil
	}
	switch ch.table {
	case tableKV:
		return oweEntry(c, ch, by)
	case tableDoc:
		return oweDocument(c, ch, by)
	case tableFile:
		return oweFile(c, ch, by)
	case tableLetter:
		return oweLetter(c, ch, by)
	case tableTick:
		return oweTick(ch, by.lsn)
	default:
		return nil, nil
	}
}

func oweEntry(c *catalog, ch change, by cause) ([]change, error) {
	app, key, _ := strings.Cut(string(ch.key), "\x00")
	what := picloud.Happening{Kind: picloud.TriggerKV, At: fromMicros(by.at), Hops: by.hops, Name: key, Deleted: ch.value == nil}
	if ch.value != nil {
		r, err := decodeEntryRow(ch.value)
		if err != nil {
			return nil, err
		}
		what.Data, what.Binary, what.Version = r.Value, r.Binary, r.Version
	}
	return owe(owing{catalog: c, app: app, match: key, lsn: by.lsn, what: what}), nil
}

func oweDocument(c *catalog, ch change, by cause) ([]change, error) {
	app, collection, id := splitDocKey(string(ch.key))
	what := picloud.Happening{Kind: picloud.TriggerDocs, At: fromMicros(by.at), Hops: by.hops, Container: collection, Name: id, Deleted: ch.value == nil}
	if ch.value != nil {
		r, err := decodeDocRow(ch.value)
		if err != nil {
			return nil, err
		}
		what.Data, what.Version = r.Body, r.Version
	}
	return owe(owing{catalog: c, app: app, match: collection, lsn: by.lsn, what: what}), nil
}

func oweFile(c *catalog, ch change, by cause) ([]change, error) {
	app, path, _ := strings.Cut(string(ch.key), "\x00")
	what := picloud.Happening{Kind: picloud.TriggerFiles, At: fromMicros(by.at), Hops: by.hops, Name: path, Deleted: ch.value == nil}
	if ch.value != nil {
		var f picloud.File
		if err := cborDecode(ch.value, &f); err != nil {
			return nil, err
		}
		data, err := picloud.EncodeJSON(map[string]any{
			"path": f.Path, "type": f.Type, "size": f.Size, "sha256": f.SHA256, "version": f.Version,
			"created_at": f.CreatedAt.Format(picloud.TimeLayout), "updated_at": f.UpdatedAt.Format(picloud.TimeLayout),
		})
		if err != nil {
			return nil, fmt.Errorf("describe a file: %w", err)
		}
		what.Data, what.Version = data, f.Version
	}
	return owe(owing{catalog: c, app: app, match: path, lsn: by.lsn, what: what}), nil
}

// oweLetter owes a dead letter to the triggers that its row names. Only its first
// version does: later ones are notes on it.
func oweLetter(c *catalog, ch change, by cause) ([]change, error) {
	if ch.value == nil {
		return nil, nil
	}
	var l letterRow
	if err := cborDecode(ch.value, &l); err != nil || l.Version != 1 {
		return nil, err
	}
	what, err := letterHappening(&l.Letter, by.at)
	if err != nil {
		return nil, err
	}
	return owe(owing{catalog: c, app: l.Letter.App, match: l.Letter.Trigger, lsn: by.lsn, what: what}), nil
}

// letterHappening is a dead letter as something that a trigger reacts to.
func letterHappening(l *picloud.DeadLetter, at int64) (picloud.Happening, error) {
	data, err := picloud.EncodeJSON(map[string]any{
		"id": l.ID, "trigger": l.Trigger, "delivery": l.Delivery, "what": l.What, "attempts": l.Attempts, "reason": l.Reason, "errors": l.Errors,
		"created_at": l.CreatedAt.Format(picloud.TimeLayout),
	})
	if err != nil {
		return picloud.Happening{}, fmt.Errorf("describe a dead letter: %w", err)
	}
	return picloud.Happening{Kind: picloud.TriggerDeadLetter, At: fromMicros(at), Hops: l.What.Hops, Name: l.ID, Data: data}, nil
}

// oweTick owes a trigger of the clock what its time that came asks for. The row
// is its own.
func oweTick(ch change, lsn uint64) ([]change, error) {
	app, id, _ := strings.Cut(strings.TrimSuffix(string(ch.key), "\x00"), "\x00")
	var r tickRow
	if ch.value == nil {
		return nil, nil
	}
	if err := cborDecode(ch.value, &r); err != nil || !r.Run {
		return nil, err
	}
	what := picloud.Happening{Kind: picloud.TriggerCron, At: fromMicros(r.Last)}
	return []change{{table: tableDelivery, key: []byte(oweKey(app, id, &lsn)), value: cborEncode(what)}}, nil
}
