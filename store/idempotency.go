package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/picloud/picloud"
)

const tableIdem table = 7 // day, app, zero byte, idempotency key

// The answers to idempotency keys follow from the events that carry them. Those of
// the days before yesterday are dropped at a checkpoint: their 24 hours are over.
var idempotencyKind = rowKind{
	name:  "idempotency keys",
	holds: holdsIdem,
	obsolete: func(now int64) []byte {
		return binary.BigEndian.AppendUint32(nil, max(idemDay(now), 1)-1)
	},
}

// The keys of an app are counted by their days. Only those of the present day are
// bounded: those of the day before end as they came, and new ones begin anew.

// idemUnit is how many bytes of an idempotency key count as one key.
const idemUnit = 64

// idemDayBytes is the length of the day at the beginning of a row's key.
const idemDayBytes = 4

func holdsIdem(u *usage, key, _ []byte, sign int64) {
	if len(key) >= idemDayBytes {
		_, text, _ := bytes.Cut(key[idemDayBytes:], []byte{0})
		u.keys.count(binary.BigEndian.Uint32(key), sign*idemCost(len(text)))
	}
}

// idemCost is how many keys a key of n bytes counts as.
func idemCost(n int) int64 { return int64(max(1, (n+idemUnit-1)/idemUnit)) }

// dayCounts are numbers of a few days, in no order.
type dayCounts [4]dayCount

// dayCount is a number of a day; 0 of none.
type dayCount struct {
	day uint32
	n   int64
}

func (d *dayCounts) of(day uint32) int64 {
	for _, c := range d {
		if c.day == day {
			return c.n
		}
	}
	return 0
}

// count adds n to the number of a day. The oldest day makes room for another.
func (d *dayCounts) count(day uint32, n int64) {
	oldest := 0
	for i := range d {
		if d[i].day == day && d[i].n != 0 {
			d[i].n += n
			return
		}
		if d[i].n == 0 || d[oldest].n != 0 && d[i].day < d[oldest].day {
			oldest = i
		}
	}
	if d[oldest].n == 0 || d[oldest].day < day {
		d[oldest] = dayCount{day: day, n: n}
	}
}

// admitIdem returns picloud.ErrIdempotencyFull when an app has no room for another
// idempotency key today.
func (s *Store) admitIdem(row *appRow, key string, at int64) error {
	day := idemDay(at)
	have := row.sequence.account.staged.keys.of(day)
	if have+idemCost(len(key)) <= s.cfg.IdempotencyKeys {
		return nil
	}
	next := fromMicros(int64(day+1) * dayMicros).Sub(fromMicros(at))
	return picloud.ErrIdempotencyFull.Detailf("The app has used %d idempotency keys since midnight UTC, of which each 64 bytes count as one, and it may use %d. Nothing was stored. Publish without a key, or after the time in Retry-After, or raise quota.idempotency_keys.",
		have, s.cfg.IdempotencyKeys).After(next)
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

const dayMicros = 24 * 60 * 60 * 1_000_000

// idemDay numbers the days since 1970. Rows lie under their day, so that past
// days can be deleted without reading them.
func idemDay(at int64) uint32 {
	if at < 0 {
		return 0
	}
	return uint32(at / dayMicros) // #nosec G115 -- fits for eleven million years
}

func idemKey(day uint32, app, key string) []byte {
	b := make([]byte, 0, idemDayBytes+len(app)+1+len(key))
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
