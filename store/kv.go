package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

const tableKV table = 12 // app, zero byte, key

var entryKind = rowKind{
	name: "key-value pairs", data: true,
	expires:  func(row []byte) (int64, error) { r, err := decodeEntryRow(row); return r.Expires, err },
	happened: entryHappened,
	holds:    holdsData,
	copied: copies[picloud.Entry]{
		as: picloud.ChangeKV,
		from: func(key string, row []byte) (picloud.Entry, error) {
			app, name, _ := strings.Cut(key, "\x00")
			return decodeEntry(app, name, row)
		},
		check: func(e *picloud.Entry) error {
			return errors.Join(checkEntry(e), check.Version(picloud.ErrKVKeyInvalid, e.Version))
		},
		to: func(_ *restorer, e picloud.Entry) ([]change, error) {
			r := entryRow{Value: e.Value, Binary: e.Binary, Version: e.Version, Updated: micros(e.UpdatedAt)}
			if !e.ExpiresAt.IsZero() {
				r.Expires = micros(e.ExpiresAt)
			}
			return []change{{table: tableKV, key: []byte(pair(e.App, e.Key)), value: r.encode()}}, nil
		},
	},
}

// entryRow is an entry as it is kept. Times are microseconds.
type entryRow struct {
	Value   []byte
	Binary  bool
	Version uint64
	Updated int64
	Expires int64 // 0: never
}

// What begins the row of an entry, and says what it is.
const (
	entryJSON   = 1
	entryBinary = 2
)

const entryHead = 1 + 3*8

// encode writes: kind u8 · version u64 · updated i64 (µs) · expires i64 (µs, 0:
// never), all little endian · value. Entries change often, which is why they are
// not CBOR as other rows are: their values are read without being copied.
func (r *entryRow) encode() []byte {
	b := make([]byte, 0, entryHead+len(r.Value))
	kind := byte(entryJSON)
	if r.Binary {
		kind = entryBinary
	}
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint64(b, r.Version)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Updated)) // #nosec G115 -- two's complement there and back
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Expires)) // #nosec G115 -- as above
	return append(b, r.Value...)
}

// decodeEntryRow reads what encode wrote. The value shares b's memory.
func decodeEntryRow(b []byte) (entryRow, error) {
	if len(b) < entryHead || (b[0] != entryJSON && b[0] != entryBinary) {
		return entryRow{}, fmt.Errorf("%w: entry of unknown version", errRecord)
	}
	return entryRow{
		Binary:  b[0] == entryBinary,
		Version: binary.LittleEndian.Uint64(b[1:]),
		Updated: int64(binary.LittleEndian.Uint64(b[9:])),  // #nosec G115 -- as above
		Expires: int64(binary.LittleEndian.Uint64(b[17:])), // #nosec G115 -- as above
		Value:   b[entryHead:],
	}, nil
}

// alive reports whether the row has not come to its end.
func (r *entryRow) alive(at int64) bool { return r.Version != 0 && (r.Expires == 0 || at < r.Expires) }

func (r *entryRow) entry(app, key string) picloud.Entry {
	e := picloud.Entry{App: app, Key: key, Value: r.Value, Binary: r.Binary, Version: r.Version, UpdatedAt: fromMicros(r.Updated)}
	if r.Expires != 0 {
		e.ExpiresAt = fromMicros(r.Expires)
	}
	return e
}

// decodeEntry turns a row into the entry it holds. Its value is a copy.
func decodeEntry(app, key string, value []byte) (picloud.Entry, error) {
	r, err := decodeEntryRow(value)
	r.Value = bytes.Clone(r.Value)
	return r.entry(app, key), err
}

// Entry returns a key of an app, or picloud.ErrKVNotFound.
func (s *Store) Entry(app, key string) (picloud.Entry, error) {
	if _, err := s.catalog.Load().app(app); err != nil {
		return picloud.Entry{}, err
	}
	b := s.tables.get(tableKV, []byte(pair(app, key)))
	if b == nil {
		return picloud.Entry{}, picloud.ErrKVNotFound
	}
	r, err := decodeEntryRow(b)
	if err != nil {
		return picloud.Entry{}, err
	}
	if !r.alive(micros(s.Now())) {
		return picloud.Entry{}, picloud.ErrKVNotFound
	}
	return r.entry(app, key), nil
}

// pageBytes bounds the data of one page of a list.
const pageBytes = 1 << 20

// Entries returns a page of an app's keys.
func (s *Store) Entries(q picloud.EntryList) (picloud.EntryPage, error) {
	if _, err := s.catalog.Load().app(q.App); err != nil {
		return picloud.EntryPage{}, err
	}
	limit := min(or(q.Limit, picloud.MaxPage), picloud.MaxPage)
	at, size := micros(s.Now()), 0
	var page picloud.EntryPage
	var fault error
	s.tables.scan(tableKV, pair(q.App, q.Prefix), pair(q.App, q.After), func(k string, v []byte) bool {
		key := strings.TrimPrefix(k, pair(q.App, ""))
		if key == q.After {
			return true
		}
		var r entryRow
		if r, fault = decodeEntryRow(v); fault != nil {
			return false
		}
		if !r.alive(at) {
			return true
		}
		if len(page.Entries) == limit || size > pageBytes {
			page.Next = page.Entries[len(page.Entries)-1].Key
			return false
		}
		size += len(v)
		page.Entries = append(page.Entries, r.entry(q.App, key))
		return true
	})
	return page, fault
}

// SetEntry sets a key, and returns it as it is then.
func (s *Store) SetEntry(ctx context.Context, c picloud.EntryChange) (picloud.Entry, error) {
	e := picloud.Entry{Key: c.Key, Value: c.Value, Binary: c.Binary}
	err := checkEntry(&e)
	if err == nil {
		err = check.TTL(c.TTL)
	}
	if err != nil {
		return picloud.Entry{}, err
	}
	return ask(ctx, s, c.App, recordCost+len(c.App)+len(c.Key)+len(e.Value), func(tx *tx) (picloud.Entry, error) {
		if err := tx.app(c.App, c.Cause); err != nil {
			return picloud.Entry{}, err
		}
		old, err := tx.entry(c.App, c.Key)
		if err != nil {
			return picloud.Entry{}, err
		}
		present := uint64(0)
		if old.alive(tx.g.now) {
			present = old.Version
		}
		if err := c.If.Check(present); err != nil {
			return picloud.Entry{}, err
		}
		return tx.putEntry(c.App, c.Key, old.Version, entryRow{Value: e.Value, Binary: c.Binary, Expires: end(tx.g.now, c.TTL)}), nil
	})
}

// IncrementEntry adds to the number that a key holds, and returns what it is
// then. picloud.ErrKVNotNumber when it holds something else, or would hold a
// number that not every reader of JSON reads exactly.
func (s *Store) IncrementEntry(ctx context.Context, c picloud.EntryIncrement) (picloud.Entry, error) {
	if err := check.Key(c.Key); err != nil {
		return picloud.Entry{}, err
	}
	if err := check.TTL(c.TTL); err != nil {
		return picloud.Entry{}, err
	}
	return ask(ctx, s, c.App, recordCost+len(c.App)+len(c.Key)+24, func(tx *tx) (picloud.Entry, error) {
		if err := tx.app(c.App, c.Cause); err != nil {
			return picloud.Entry{}, err
		}
		old, err := tx.entry(c.App, c.Key)
		if err != nil {
			return picloud.Entry{}, err
		}
		n, expires := int64(0), end(tx.g.now, c.TTL)
		if old.alive(tx.g.now) {
			if n, err = number(&old); err != nil {
				return picloud.Entry{}, err
			}
			expires = old.Expires
		}
		sum := n + c.By
		if c.By > maxExact || c.By < -maxExact || sum > maxExact || sum < -maxExact {
			return picloud.Entry{}, picloud.ErrKVNotNumber.Detailf("the sum is beyond %d, up to which numbers are exact", int64(maxExact))
		}
		return tx.putEntry(c.App, c.Key, old.Version, entryRow{Value: strconv.AppendInt(nil, sum, 10), Expires: expires}), nil
	})
}

// maxExact is the largest whole number that every reader of JSON reads exactly.
const maxExact = 1<<53 - 1

func number(r *entryRow) (int64, error) {
	n, err := strconv.ParseInt(string(r.Value), 10, 64)
	if err != nil || r.Binary || n > maxExact || n < -maxExact {
		return 0, picloud.ErrKVNotNumber
	}
	return n, nil
}

// DeleteEntry removes a key, or returns picloud.ErrKVNotFound.
func (s *Store) DeleteEntry(ctx context.Context, d picloud.Deletion) error {
	return s.do(ctx, d.App, func(tx *tx) error {
		if err := tx.app(d.App, d.Cause); err != nil {
			return err
		}
		old, err := tx.entry(d.App, d.Name)
		if err != nil {
			return err
		}
		if !old.alive(tx.g.now) {
			return picloud.ErrKVNotFound
		}
		if err := d.If.Check(old.Version); err != nil {
			return err
		}
		tx.remove(tableKV, pair(d.App, d.Name))
		return nil
	})
}

// checkEntry checks the key and the value, and brings JSON into compact form.
func checkEntry(e *picloud.Entry) error {
	err := check.Key(e.Key)
	if err == nil {
		e.Value, err = check.Value(e.Value, e.Binary)
	}
	return err
}

// end returns when something that is made at a time comes to its end; 0: never.
func end(at int64, ttl time.Duration) int64 {
	if ttl == 0 {
		return 0
	}
	return at + ttl.Microseconds()
}

// entry returns the row of a key, all zero when there is none. One that has come
// to its end may still be there.
func (t *tx) entry(app, key string) (entryRow, error) {
	var r entryRow
	if _, err := t.catalog.app(app); err != nil {
		return r, err
	}
	b := t.get(tableKV, []byte(pair(app, key)))
	if b == nil {
		return r, nil
	}
	return decodeEntryRow(b)
}

func (t *tx) putEntry(app, key string, before uint64, r entryRow) picloud.Entry {
	r.Version, r.Updated = nextVersion(before, t.at), t.at
	t.change(change{table: tableKV, key: []byte(pair(app, key)), value: r.encode()})
	if r.Expires != 0 {
		t.s.commit.nextExpiry = min(t.s.commit.nextExpiry, r.Expires)
	}
	return r.entry(app, key)
}

// nextVersion is larger than any version the thing had before, even when it was
// gone in between: it follows the clock, too.
func nextVersion(before uint64, at int64) uint64 {
	return max(before+1, uint64(max(at, 1))) // #nosec G115 -- positive
}

// entryHappened tells of a key that was set or removed.
func entryHappened(ch change, by cause) (matched, bool, error) {
	app, key, _ := strings.Cut(string(ch.key), "\x00")
	what := picloud.Happening{Kind: picloud.TriggerKV, At: fromMicros(by.at), Hops: by.hops, Name: key, Deleted: ch.value == nil}
	if ch.value != nil {
		r, err := decodeEntryRow(ch.value)
		if err != nil {
			return matched{}, false, err
		}
		what.Data, what.Binary, what.Version = r.Value, r.Binary, r.Version
	}
	return matched{app: app, by: key, lsn: by.lsn, what: what}, true, nil
}

// never is a time that does not come.
const never = math.MaxInt64
