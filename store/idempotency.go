package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/picloud/picloud"
)

const tableIdem table = 7 // period, app, zero byte, idempotency key

// The answers to idempotency keys follow from the events that carry them. They lie
// under the period in which they came; those of the periods before the last one are
// dropped at a checkpoint: their 24 hours are over.
var idempotencyKind = rowKind{
	name:  "idempotency keys",
	holds: holdsIdem,
	obsolete: func(meta *checkpointMeta) []byte {
		return binary.BigEndian.AppendUint32(nil, max(meta.Idem.Number, 1)-1)
	},
}

// idemPeriod is a period of idempotency keys. It ends when an event with a key comes 24
// hours after its beginning, by a clock that can be believed, or by the uptime of one
// start of the board. So a clock that is set back, or that cannot be believed, ends no
// period, and the answers of the period that has ended last are remembered for as long
// as another one takes. It follows from the events in their order, as the rows do.
//
// Nodes before format 3 numbered the days since 1970 in this place; periods go on from
// the last of them.
type idemPeriod struct {
	Number uint32 `cbor:"1,keyasint"`
	Began  int64  `cbor:"2,keyasint"`           // by a clock that can be believed, microseconds; 0: not known
	Boot   string `cbor:"3,keyasint,omitempty"` // the start of the board that had events in the period before it knew the time; "": none
	Up     int64  `cbor:"4,keyasint,omitempty"` // its uptime when it had the first of them, microseconds
}

// at returns the period of an event.
func (p idemPeriod) at(at int64, stamp *picloud.Stamp) idemPeriod {
	p.Number = max(p.Number, 1)
	if stamp == nil {
		switch {
		case p.Began == 0 || at < p.Began:
			p.Began = at
		case at-p.Began >= idemWindow.Microseconds():
			return idemPeriod{Number: p.Number + 1, Began: at}
		}
		return p
	}
	up := at - micros(stamp.Started)
	switch {
	case p.Boot != stamp.Boot || up < p.Up:
		p.Boot, p.Up = stamp.Boot, up
	case up-p.Up >= idemWindow.Microseconds():
		return idemPeriod{Number: p.Number + 1, Boot: stamp.Boot, Up: up}
	}
	return p
}

// left is how long a period still lasts when an event in it comes.
func (p idemPeriod) left(at int64, stamp *picloud.Stamp) time.Duration {
	gone := at - p.Began
	if stamp != nil {
		gone = at - micros(stamp.Started) - p.Up
	}
	return idemWindow - time.Duration(gone)*time.Microsecond
}

// The keys of an app are counted by their periods. Only those of the present period are
// bounded: those of the one before end as they came, and new ones begin anew.

// idemUnit is how many bytes of an idempotency key count as one key.
const idemUnit = 64

// idemPeriodBytes is the length of the period at the beginning of a row's key.
const idemPeriodBytes = 4

func holdsIdem(u *usage, key, _ []byte, sign int64) {
	if len(key) >= idemPeriodBytes {
		_, text, _ := bytes.Cut(key[idemPeriodBytes:], []byte{0})
		u.keys.count(binary.BigEndian.Uint32(key), sign*idemCost(len(text)))
	}
}

// idemCost is how many keys a key of n bytes counts as.
func idemCost(n int) int64 { return int64(max(1, (n+idemUnit-1)/idemUnit)) }

// periodCounts are numbers of a few periods, in no order.
type periodCounts [4]periodCount

// periodCount is a number of a period; 0 of none.
type periodCount struct {
	period uint32
	n      int64
}

func (d *periodCounts) of(period uint32) int64 {
	for _, c := range d {
		if c.period == period && c.n != 0 {
			return c.n
		}
	}
	return 0
}

// count adds n to the number of a period. The oldest makes room for another.
func (d *periodCounts) count(period uint32, n int64) {
	oldest := 0
	for i := range d {
		if d[i].period == period && d[i].n != 0 {
			d[i].n += n
			return
		}
		if d[i].n == 0 || d[oldest].n != 0 && d[i].period < d[oldest].period {
			oldest = i
		}
	}
	if d[oldest].n == 0 || d[oldest].period < period {
		d[oldest] = periodCount{period: period, n: n}
	}
}

// newest returns the newest period that has a number; 0: none has.
func (d *periodCounts) newest() (period uint32) {
	for _, c := range d {
		if c.n != 0 {
			period = max(period, c.period)
		}
	}
	return period
}

// admitIdem returns picloud.ErrIdempotencyFull when an app has no room for another
// idempotency key in a period.
func (s *Store) admitIdem(g *group, row *appRow, key string, p idemPeriod) error {
	have := row.sequence.account.staged.keys.of(p.Number)
	if have+idemCost(len(key)) <= s.cfg.IdempotencyKeys {
		return nil
	}
	return picloud.ErrIdempotencyFull.Detailf("The app has used %d idempotency keys in this period of 24 hours, of which each 64 bytes count as one, and it may use %d. Nothing was stored. Publish without a key, or after the time in Retry-After, or raise quota.idempotency_keys.",
		have, s.cfg.IdempotencyKeys).After(p.left(g.at, g.stamp))
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
	Print   fingerprint `cbor:"1,keyasint"`
	First   uint64      `cbor:"2,keyasint"`
	Count   int         `cbor:"3,keyasint"`
	At      int64       `cbor:"4,keyasint"` // published at, microseconds
	Source  string      `cbor:"5,keyasint"`
	Guessed bool        `cbor:"6,keyasint,omitempty"` // the clock of At could not be believed
}

func idemKey(period uint32, app, key string) []byte {
	b := make([]byte, 0, idemPeriodBytes+len(app)+1+len(key))
	b = binary.BigEndian.AppendUint32(b, period)
	b = append(b, app...)
	b = append(b, 0)
	return append(b, key...)
}

// findIdem looks for an answer that an app still remembers, under a period and the one
// before. Answers of a deleted app of that name do not count. Those that are older than
// the window by a clock that could be believed both times are not remembered; one of
// any other age, or of a time to come, is.
func (s *Store) findIdem(g *group, app *appRow, key string, p idemPeriod) (idemRow, bool) {
	for _, number := range []uint32{p.Number, p.Number - 1} {
		k := idemKey(number, app.App.Name, key)
		b, ok := g.staged(tableIdem, k)
		if !ok {
			b = s.tables.get(tableIdem, k)
		}
		var row idemRow
		if b == nil || cborDecode(b, &row) != nil || row.First <= app.Born {
			continue
		}
		if known := g.stamp == nil && !row.Guessed; !known || g.at-row.At < idemWindow.Microseconds() {
			return row, true
		}
	}
	return idemRow{}, false
}

// idemChange is the row that follows from the first event of a publication.
func idemChange(p idemPeriod, app string, seq uint64, at int64, e *eventBody) change {
	return change{
		table: tableIdem,
		key:   idemKey(p.Number, app, e.idem),
		value: cborEncode(idemRow{Print: e.print, First: seq, Count: e.count, At: at, Source: e.source, Guessed: e.stamp != nil}),
	}
}

// openIdem goes on from the last day of a node before format 3. Called while the store
// opens, before anything is replayed.
func (s *Store) openIdem(meta *checkpointMeta) {
	s.commit.idem = meta.Idem
	for _, q := range s.commit.sequences {
		s.commit.idem.Number = max(s.commit.idem.Number, q.account.staged.keys.newest())
	}
}
