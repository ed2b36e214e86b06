package store

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

// FindDocuments returns a page of the documents that a query asks for. It uses an
// index where one is of use, and otherwise looks at all documents of the
// collection.
func (s *Store) FindDocuments(q picloud.DocumentQuery) (picloud.DocumentPage, error) {
	c := s.catalog.Load()
	if _, err := c.app(q.App); err != nil {
		return picloud.DocumentPage{}, err
	}
	if q.Sort != "" {
		if err := check.Field(q.Sort); err != nil {
			return picloud.DocumentPage{}, err
		}
	}
	f := &finder{s: s, q: q, limit: min(or(q.Limit, picloud.MaxPage), picloud.MaxPage), row: c.collection(q.App, q.Collection)}
	if q.After != "" {
		after, err := parsePlace(q.After)
		if err != nil {
			return picloud.DocumentPage{}, err
		}
		f.after = &after
	}
	if err := f.find(); err != nil {
		return picloud.DocumentPage{}, err
	}
	return f.page(), nil
}

// finder is a query at work.
type finder struct {
	s     *Store
	q     picloud.DocumentQuery
	limit int
	row   *collectionRow
	after *place

	found    []finding // the first ones; sorted when cut
	sorted   bool      // they come in order: the first are enough
	more     bool      // there may be more than were found
	examined int
	size     int
}

// finding is a document that was found, with where it sorts.
type finding struct {
	place
	row docRow
}

// place is where a document stands in the order of a query.
type place struct {
	key []byte // of the value that is sorted by; nil: by id
	id  string
}

func (p place) compare(o place) int {
	if c := bytes.Compare(p.key, o.key); c != 0 {
		return c
	}
	return strings.Compare(p.id, o.id)
}

func (p place) String() string {
	b := binary.AppendUvarint(nil, uint64(len(p.key)))
	return base64.RawURLEncoding.EncodeToString(append(append(b, p.key...), p.id...))
}

func parsePlace(text string) (place, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	n, size := binary.Uvarint(b)
	if err != nil || size <= 0 || n > uint64(len(b)-size) {
		return place{}, picloud.ErrQueryInvalid.Detailf("after: give what next was")
	}
	p := place{id: string(b[size+int(n):])} // #nosec G115 -- checked above
	if n > 0 {
		p.key = b[size : size+int(n)] // #nosec G115 -- as above
	}
	return p, nil
}

// order compares two places in the order of the query.
func (f *finder) order(a, b place) int {
	if f.q.Descending {
		return b.compare(a)
	}
	return a.compare(b)
}

// find chooses a way: by an index for a value that is asked for, else by one that
// gives the order, else by one for a range, else through everything.
func (f *finder) find() error {
	forward := !f.q.Descending
	if ix, b := f.bounds(func(c picloud.Condition) bool { return c.Op == picloud.OpEqual }); ix != nil {
		f.sorted = forward && ix.Field == f.q.Sort
		return f.byIndex(ix, b)
	}
	if ix := f.index(f.q.Sort); ix != nil && forward {
		f.sorted = true
		return f.byIndex(ix, f.boundsOf(ix.Field))
	}
	if ix, b := f.bounds(func(picloud.Condition) bool { return true }); ix != nil {
		return f.byIndex(ix, b)
	}
	f.sorted = forward && f.q.Sort == ""
	return f.all()
}

// index returns the index of a field that can be used.
func (f *finder) index(name string) *indexRow {
	i := slices.IndexFunc(f.row.Indexes, func(i indexRow) bool { return i.Field == name && i.Ready && !i.Dropping })
	if i < 0 {
		return nil
	}
	return &f.row.Indexes[i]
}

// bounds returns an index for one of the conditions that suit.
func (f *finder) bounds(suits func(picloud.Condition) bool) (*indexRow, span) {
	for _, c := range f.q.Where {
		if ix := f.index(c.Field); ix != nil && suits(c) {
			return ix, f.boundsOf(c.Field)
		}
	}
	return nil, span{}
}

// span is a range of the keys of values: from low, below high; empty: no bound.
type span struct{ low, high string }

func (b *span) narrow(low, high string) {
	b.low = max(b.low, low)
	if b.high == "" || (high != "" && high < b.high) {
		b.high = high
	}
}

// boundsOf returns the keys that the conditions on a field leave.
func (f *finder) boundsOf(name string) span {
	var b span
	for _, c := range f.q.Where {
		if c.Field != name {
			continue
		}
		v := scalarFrom(c.Value)
		key, kind := string(v.key()), string(v.kind)
		next := string(v.kind + 1)
		switch c.Op {
		case picloud.OpEqual:
			if v.kind == kindNull {
				b.narrow(string(byte(kindMissing)), next)
				continue
			}
			b.narrow(key, key+"\xff")
		case picloud.OpGreater, picloud.OpGreaterOrEqual:
			b.narrow(key, next)
		case picloud.OpLess, picloud.OpLessOrEqual:
			b.narrow(kind, key+"\xff")
		case picloud.OpPrefix:
			p := string(textKey(v.text))
			b.narrow(p, p+"\xff")
		}
	}
	return b
}

// readAtOnce is how many index rows are read before their documents.
const readAtOnce = 256

// byIndex looks at the documents that an index has between two values.
func (f *finder) byIndex(ix *indexRow, b span) error {
	collection := pair(f.q.App, f.q.Collection)
	prefix := indexPrefix(collection, ix.ID)
	from := prefix + b.low
	if f.sorted && f.after != nil {
		from = max(from, prefix+string(f.after.key)+f.after.id)
	}
	for {
		var keys []string
		f.s.tables.scan(tableDocIndex, prefix, from, func(k string, _ []byte) bool {
			if rest := k[len(prefix):]; b.high != "" && rest >= b.high {
				return false
			}
			keys = append(keys, k)
			return len(keys) < readAtOnce
		})
		for _, k := range keys {
			key, id, ok := cutKey(k[len(prefix):])
			if !ok {
				return errRecord
			}
			v := f.s.tables.get(tableDoc, []byte(docKey(f.q.App, f.q.Collection, id)))
			if v == nil {
				continue // deleted since
			}
			r, err := decodeDocRow(v)
			if err != nil {
				return err
			}
			if string(scalarOf(field(r.Body, ix.Field)).key()) != key {
				continue // changed since, and found where it now stands
			}
			if !f.take(id, r) {
				return nil
			}
		}
		if len(keys) < readAtOnce {
			return nil
		}
		from = keys[len(keys)-1] + "\x00"
	}
}

// all looks at all documents of the collection.
func (f *finder) all() (err error) {
	prefix := docKey(f.q.App, f.q.Collection, "")
	from := ""
	if f.sorted && f.after != nil {
		from = prefix + f.after.id
	}
	f.s.tables.scan(tableDoc, prefix, from, func(k string, v []byte) bool {
		var r docRow
		if r, err = decodeDocRow(v); err != nil {
			return false
		}
		return f.take(k[len(prefix):], r)
	})
	return err
}

// take looks at a document, and reports whether more are wanted.
func (f *finder) take(id string, r docRow) bool {
	f.examined++
	for i := range f.q.Where {
		if !holds(&f.q.Where[i], r.Body) {
			return true
		}
	}
	p := place{id: id}
	if f.q.Sort != "" {
		p.key = scalarOf(field(r.Body, f.q.Sort)).key()
	}
	if f.after != nil && f.order(p, *f.after) <= 0 {
		return true
	}
	f.found = append(f.found, finding{place: p, row: r})
	f.size += len(r.Body)
	if f.sorted {
		f.more = f.size >= pageBytes
		return len(f.found) <= f.limit && !f.more
	}
	if len(f.found) > 4*f.limit+64 || f.size > 4*pageBytes {
		f.cut()
	}
	return true
}

// cut keeps what comes first of what was found, as much as a page holds and one
// more.
func (f *finder) cut() {
	slices.SortFunc(f.found, func(a, b finding) int { return f.order(a.place, b.place) })
	kept := 0
	for f.size = 0; kept < len(f.found) && kept <= f.limit && f.size < pageBytes; kept++ {
		f.size += len(f.found[kept].row.Body)
	}
	if kept < len(f.found) {
		f.more = true
		clear(f.found[kept:])
		f.found = f.found[:kept]
	}
}

func (f *finder) page() picloud.DocumentPage {
	f.cut()
	page := picloud.DocumentPage{Examined: f.examined}
	if len(f.found) > f.limit {
		f.more, f.found = true, f.found[:f.limit]
	}
	for _, one := range f.found {
		page.Documents = append(page.Documents, one.row.document(f.q.App, f.q.Collection, one.id))
	}
	if f.more {
		page.Next = f.found[len(f.found)-1].String()
	}
	return page
}

// holds reports whether a condition is met by a document.
func holds(c *picloud.Condition, body []byte) bool {
	is, want := scalarOf(field(body, c.Field)), scalarFrom(c.Value)
	if c.Op == picloud.OpEqual && want.kind == kindNull {
		return is.kind == kindNull || is.kind == kindMissing
	}
	if c.Op == picloud.OpPrefix {
		return is.kind == kindText && strings.HasPrefix(is.text, want.text)
	}
	if is.kind != want.kind {
		return false
	}
	order := strings.Compare(is.text, want.text)
	if is.kind == kindNumber {
		order = cmp.Compare(is.number, want.number)
	}
	switch c.Op {
	case picloud.OpEqual:
		return order == 0
	case picloud.OpGreater:
		return order > 0
	case picloud.OpGreaterOrEqual:
		return order >= 0
	case picloud.OpLess:
		return order < 0
	case picloud.OpLessOrEqual:
		return order <= 0
	case picloud.OpPrefix:
	}
	return false
}
