package store

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/picloud/picloud"
)

const tableIdem table = 7 // day, app, zero byte, idempotency key

// The answers to idempotency keys follow from the events that carry them. Those of
// the days before yesterday are dropped at a checkpoint: their 24 hours are over.
var idempotencyKind = rowKind{
	name: "idempotency keys",
	obsolete: func(now int64) []byte {
		return binary.BigEndian.AppendUint32(nil, max(idemDay(now), 1)-1)
	},
}

// idemWindow is how long the answer to an idempotency key is remembered.
const idemWindow = 24 * time.Hour

// fingerprint tells two requests under one idempotency key apart.
type fingerprint [16]byte

// printOf covers the topics, the data and their order.
func printOf(drafts []picloud.Draft) fingerprint {
	h := sha256.New()
	var n [8]byte
	for _, d := range drafts {
		binary.BigEndian.PutUint32(n[:4], uint32(len(d.Topic))) // #nosec G115 -- bounded at the door
		binary.BigEndian.PutUint32(n[4:], uint32(len(d.Data)))  // #nosec G115 -- bounded at the door
		h.Write(n[:])
		h.Write([]byte(d.Topic))
		h.Write(d.Data)
	}
	var p fingerprint
	copy(p[:], h.Sum(nil))
	return p
}

// idemRow is what is remembered of a publication. The events follow from it and
// the repeated request, which the fingerprint proves to be the same.
type idemRow struct {
	Print  fingerprint `cbor:"1,keyasint"`
	First  uint64      `cbor:"2,keyasint"`
	Count  int         `cbor:"3,keyasint"`
	At     int64       `cbor:"4,keyasint"` // published at, microseconds
	Source string      `cbor:"5,keyasint"`
}

// idemDay numbers the days since 1970. Rows lie under their day, so that past
// days can be deleted without reading them.
func idemDay(at int64) uint32 {
	if at < 0 {
		return 0
	}
	return uint32(at / (24 * 60 * 60 * 1e6)) // #nosec G115 -- fits for eleven million years
}

func idemKey(day uint32, app, key string) []byte {
	b := make([]byte, 0, 4+len(app)+1+len(key))
	b = binary.BigEndian.AppendUint32(b, day)
	b = append(b, app...)
	b = append(b, 0)
	return append(b, key...)
}

// findIdem looks for an answer that an app still remembers at time at: under the
// day of at and the one before. Answers of a deleted app of that name do not count.
func (s *Store) findIdem(app *appRow, key string, at int64) (idemRow, bool) {
	day := idemDay(at)
	for _, d := range []uint32{day, day - 1} {
		k := idemKey(d, app.App.Name, key)
		b, ok := s.commit.group.staged(tableIdem, k)
		if !ok {
			b = s.tables.get(tableIdem, k)
		}
		var row idemRow
		if b != nil && cborDecode(b, &row) == nil && row.First > app.Born && fromMicros(at).Sub(fromMicros(row.At)).Abs() < idemWindow {
			return row, true
		}
	}
	return idemRow{}, false
}

// idemChange is the row that follows from the first event of a publication.
func idemChange(app string, seq uint64, at int64, e *eventBody) change {
	return change{
		table: tableIdem,
		key:   idemKey(idemDay(at), app, e.idem),
		value: cborEncode(idemRow{Print: e.print, First: seq, Count: e.count, At: at, Source: e.source}),
	}
}
