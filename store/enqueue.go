package store

import (
	"encoding/binary"
	"strings"

	"github.com/picloud/picloud"
)

// Deliveries to triggers follow from the journal: a record and the triggers as
// they are at that record make them, when it is committed and again when it is
// replayed. That a delivery is done, is to be tried again, or was given up are
// changes in the journal.

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

// matched is a record that triggers are matched against.
type matched struct {
	app  string
	by   string // the key, topic, path … that triggers match
	lsn  uint64
	what picloud.Happening
}

// enqueue returns the deliveries of a record to the triggers that match it, as the
// catalog is with the record.
func enqueue(c *catalog, m matched) []change {
	if c.triggers().Len() == 0 {
		return nil
	}
	var out []change
	var delivery []byte
	for t := range each(c.triggers(), pair(m.app, "")) {
		if !t.Enabled || t.Kind != m.what.Kind || !t.Matches(m.by) {
			continue
		}
		if delivery == nil {
			delivery = cborEncode(m.what)
		}
		out = append(out, change{table: tableDelivery, key: []byte(deliveryKey(m.app, t.ID, &m.lsn)), value: delivery})
	}
	return out
}

// enqueueEvent enqueues the deliveries of an event.
func enqueueEvent(c *catalog, ev *picloud.Event, lsn uint64, hops int) []change {
	if c.triggers().Len() == 0 {
		return nil
	}
	return enqueue(c, matched{app: ev.App, by: ev.Topic, lsn: lsn, what: picloud.Happening{
		Kind: picloud.TriggerPubSub, At: ev.PublishedAt, Hops: hops, Name: ev.Topic, Position: ev.Position.String(), Source: ev.Source, Data: ev.Data,
	}})
}
