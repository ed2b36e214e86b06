package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// The kinds of journal records. A kind this version does not know stops the
// start: skipping it could lose what it holds.
const (
	kindEvent  uint8 = 1 // one event; key: app, zero byte, topic
	kindChange uint8 = 2 // one row of one table put or deleted
	kindStop   uint8 = 3 // the node stopped in good order; nothing was in flight
)

// What begins the body of every event record.
const (
	eventVersion = 1
	eventStamped = 2 // a stamp follows: the clock could not be believed
	eventHops    = 2 // what is added to either when deliveries led to the event: how many follows
)

var errRecord = errors.New("malformed record")

// eventKey is what the journal's index groups events by.
func eventKey(buf []byte, app, topic string) []byte {
	buf = append(buf, app...)
	buf = append(buf, 0)
	return append(buf, topic...)
}

func splitEventKey(key []byte) (app, topic string, err error) {
	a, t, ok := bytes.Cut(key, []byte{0})
	if !ok {
		return "", "", errRecord
	}
	return string(a), string(t), nil
}

// eventBody is what an event record holds beside its head. The layout:
//
//	version u8
//	· in versions 3 and 4: hops u8
//	· in versions 2 and 4: boot (uvarint length, bytes), started i64 (µs, little endian)
//	· source (uvarint length, bytes)
//	· idempotency key (uvarint length, bytes; length 0: none)
//	· with a key: fingerprint 16 bytes, number of events of the publication uvarint
//	· data
//
// Only the first event of a publication carries its idempotency key, so that
// the key and all the events it stands for survive together or not at all.
type eventBody struct {
	hops   int // see picloud.MaxHops
	stamp  *picloud.Stamp
	source string
	idem   string
	print  fingerprint
	count  int
	data   []byte
}

func (e *eventBody) append(b []byte) []byte {
	version := byte(eventVersion)
	if e.stamp != nil {
		version = eventStamped
	}
	if e.hops > 0 {
		b = append(b, version+eventHops, byte(min(e.hops, math.MaxUint8)))
	} else {
		b = append(b, version)
	}
	if e.stamp != nil {
		b = appendText(b, e.stamp.Boot)
		b = binary.LittleEndian.AppendUint64(b, uint64(micros(e.stamp.Started))) // #nosec G115 -- two's complement there and back
	}
	b = appendText(b, e.source)
	b = appendText(b, e.idem)
	if e.idem != "" {
		b = append(b, e.print[:]...)
		b = binary.AppendUvarint(b, uint64(e.count)) // #nosec G115 -- at most picloud.MaxBatch
	}
	return append(b, e.data...)
}

// knownEvent reports whether this version reads events of a version.
func knownEvent(version byte) bool {
	return version >= eventVersion && version <= eventStamped+eventHops
}

// parseEventBody reads what append wrote. The data shares b's memory.
func parseEventBody(b []byte) (eventBody, error) {
	var e eventBody
	if len(b) == 0 || !knownEvent(b[0]) {
		return e, fmt.Errorf("%w: event of unknown version", errRecord)
	}
	version := b[0]
	b = b[1:]
	if version > eventStamped {
		if len(b) == 0 || b[0] == 0 {
			return e, errRecord
		}
		version, e.hops, b = version-eventHops, int(b[0]), b[1:]
	}
	stamped := version == eventStamped
	var ok bool
	if stamped {
		e.stamp = new(picloud.Stamp)
		if e.stamp.Boot, b, ok = cutText(b); !ok || len(b) < 8 {
			return e, errRecord
		}
		e.stamp.Started = fromMicros(int64(binary.LittleEndian.Uint64(b))) // #nosec G115 -- as above
		b = b[8:]
	}
	if e.source, b, ok = cutText(b); !ok {
		return e, errRecord
	}
	if e.idem, b, ok = cutText(b); !ok {
		return e, errRecord
	}
	if e.idem != "" {
		if len(b) < len(e.print) {
			return e, errRecord
		}
		b = b[copy(e.print[:], b):]
		n, size := binary.Uvarint(b)
		if size <= 0 || n == 0 || n > picloud.MaxBatch {
			return e, errRecord
		}
		e.count, b = int(n), b[size:] // #nosec G115 -- checked above
	}
	e.data = b
	return e, nil
}

// change is one row of one table, put (value not nil) or deleted.
type change struct {
	table table
	key   []byte
	value []byte
}

// append writes: table u8 · 1 for put or 0 for delete · key (uvarint length,
// bytes) · value.
func (c change) append(b []byte) []byte {
	put := byte(1)
	if c.value == nil {
		put = 0
	}
	b = append(b, byte(c.table), put)
	b = binary.AppendUvarint(b, uint64(len(c.key)))
	b = append(b, c.key...)
	return append(b, c.value...)
}

// parseChange reads what append wrote. Its slices share b's memory.
func parseChange(b []byte) (change, error) {
	if len(b) < 3 || b[1] > 1 {
		return change{}, errRecord
	}
	c := change{table: table(b[0])}
	put := b[1] == 1
	n, size := binary.Uvarint(b[2:])
	if size <= 0 || n > uint64(len(b)-2-size) {
		return change{}, errRecord
	}
	rest := b[2+size:]
	c.key = rest[:n:n]
	if put {
		c.value = rest[n:]
	} else if len(rest) != int(n) { // #nosec G115 -- n is at most len(b)
		return change{}, errRecord
	}
	return c, nil
}

// cameBack are the hops of a change that came back from a copy: triggers are not told of it,
// when it is committed, replayed or read again.
const cameBack = math.MaxUint8

// hopsOf returns how many deliveries led to what a record holds, see picloud.MaxHops.
func hopsOf(r *journal.Record) int {
	switch r.Kind {
	case kindEvent:
		body, _ := parseEventBody(r.Body) // who needs the event meets the fault again
		return body.hops
	case kindChange:
		return int(min(r.Seq, math.MaxUint8)) // #nosec G115 -- bounded
	}
	return 0
}

// parseEvent turns a record into the event it holds. Its data is a copy.
func parseEvent(epoch picloud.Epoch, r *journal.Record) (picloud.Event, error) {
	app, topic, err := splitEventKey(r.Key)
	if err != nil {
		return picloud.Event{}, err
	}
	body, err := parseEventBody(r.Body)
	if err != nil {
		return picloud.Event{}, err
	}
	return picloud.Event{
		Position:    picloud.Position{Epoch: epoch, Seq: r.Seq},
		App:         app,
		Topic:       topic,
		Data:        bytes.Clone(body.data),
		PublishedAt: fromMicros(r.At),
		Source:      body.source,
		Stamp:       body.stamp,
	}, nil
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func cutText(b []byte) (text string, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return "", nil, false
	}
	b = b[size:]
	return string(b[:n]), b[n:], true
}
