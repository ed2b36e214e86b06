package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/picloud/picloud"
)

// copier says what rows of a kind are to others than the node: to the copy in
// Postgres, and to the node that is restored from it.
type copier interface {
	kind() picloud.ChangeKind
	// most returns how many of them an app may have; 0: any number.
	most() int
	// export returns what a row says.
	export(key string, row []byte) (any, error)
	// restore returns the rows of what was exported, after it has passed the checks
	// that a request of a client passes.
	restore(r *restorer, value any) ([]change, error)
	// mend checks a row that came as it is, out of an archive. It returns the row to keep
	// instead when a former version took what this one does not; nil: the row stays.
	mend(key string, row []byte) ([]byte, error)
}

// restorer is what restoring a row may need.
type restorer struct {
	lsn uint64 // that its first row gets
}

// copies is the copier of rows that are exported as a T.
type copies[T any] struct {
	as picloud.ChangeKind
	// from returns what a row says; nil: rows are a T in CBOR.
	from func(key string, row []byte) (T, error)
	// with returns a row that says v from now on; nil: rows are a T in CBOR.
	with func(row []byte, v T) ([]byte, error)
	// former brings a value that former versions took into the form that check takes; nil:
	// there is none.
	former func(v *T)
	// check returns the first fault of a value, as a public error. It may bring the
	// value into the form in which it is kept.
	check func(v *T) error
	// limit is how many of them an app may have; 0: any number.
	limit int
	// to returns the rows of a value.
	to func(r *restorer, v T) ([]change, error)
}

func (c copies[T]) kind() picloud.ChangeKind { return c.as }

func (c copies[T]) most() int { return c.limit }

func (c copies[T]) export(key string, row []byte) (any, error) {
	if c.from != nil {
		return c.from(key, row)
	}
	var v T
	err := cborDecode(row, &v)
	return v, err
}

func (c copies[T]) restore(r *restorer, value any) ([]change, error) {
	v, ok := value.(T)
	if text, encoded := value.(json.RawMessage); encoded {
		if err := json.Unmarshal(text, &v); err != nil {
			return nil, err
		}
	} else if !ok {
		return nil, fmt.Errorf("it is a %T", value)
	}
	if err := c.checked(&v); err != nil {
		return nil, err
	}
	if _, err := json.Marshal(v); err != nil { // a time that no JSON can have
		return nil, err
	}
	return c.to(r, v)
}

func (c copies[T]) checked(v *T) error {
	if c.former != nil {
		c.former(v)
	}
	return c.check(v)
}

func (c copies[T]) mend(key string, row []byte) ([]byte, error) {
	from := c.from
	if from == nil {
		from = func(_ string, row []byte) (T, error) { return decodeAs[T](row) }
	}
	v, err := from(key, row)
	if err != nil {
		return nil, err
	}
	was := v
	if c.former != nil {
		c.former(&v)
	}
	mended := v
	if err := c.check(&v); err != nil {
		return nil, err
	}
	switch {
	case !reflect.DeepEqual(v, mended):
		return nil, errors.New("it is not in the form in which it is kept")
	case reflect.DeepEqual(v, was):
		return nil, nil //nolint:nilnil // the row stays
	case c.with != nil:
		return c.with(row, v)
	}
	return cborEncode(v), nil
}

// checkedBy is the check of values that need not be brought into a form.
func checkedBy[T any](valid func(v T) error) func(v *T) error {
	return func(v *T) error { return valid(*v) }
}

// putOf returns the change that puts one row in CBOR.
func putOf(tb table, key string, v any) []change {
	return []change{{table: tb, key: []byte(key), value: cborEncode(v)}}
}

// changeOf returns what a row means to others; nil: nothing.
func changeOf(ch change) (*picloud.Change, error) {
	k := ch.table.kind()
	if k == nil || k.copied == nil {
		return nil, nil //nolint:nilnil // a row that concerns the node alone is no change, and no fault
	}
	key := string(ch.key)
	app, name, below := strings.Cut(key, "\x00")
	c := &picloud.Change{Kind: k.copied.kind(), App: app, Name: name}
	if !below { // an app, or a row of the node
		c.Name = key
		if k.node {
			c.App = ""
		}
	}
	if ch.value == nil {
		return c, nil
	}
	var err error
	c.Value, err = k.copied.export(key, ch.value)
	return c, err
}

// dataPage bounds the rows of one page of Data.
const dataPage = 500

// Data returns what apps keep, as it is now, a page at a time: for a reader that
// begins to follow the journal when it does not have all of it any more. The
// following page comes after next; empty: there is none.
func (s *Store) Data(after string) (page []picloud.Change, next string, err error) {
	size := 0
	for _, tb := range tablesWhere(func(k *rowKind) bool { return k.data && k.copied != nil }) {
		from := ""
		switch {
		case after == "" || byte(tb) > after[0]:
		case byte(tb) == after[0]:
			from = after[1:]
		default:
			continue
		}
		full := false
		s.tables.scan(tb, "", from, func(k string, v []byte) bool {
			if rowKey(tb, []byte(k)) == after {
				return true
			}
			if full = len(page) == dataPage || size > pageBytes/4; full {
				return false
			}
			var c *picloud.Change
			if c, err = changeOf(change{table: tb, key: []byte(k), value: v}); err != nil {
				return false
			}
			page, next, size = append(page, *c), rowKey(tb, []byte(k)), size+len(v)
			return true
		})
		if full || err != nil {
			return page, next, err
		}
	}
	return page, "", nil
}
