package store

import (
	"iter"
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
)

// catalog is what the hot paths look up: apps, topics, keys, triggers. It is held
// in memory as a whole, a tree for each kind. A published catalog never changes;
// the committer works on a copy, which costs little until a row changes.
type catalog struct {
	trees    [maxTables]rowTree         // nil: not a kind of the catalog
	sequence func(app string) *sequence // of the committer
}

// rowTree holds the rows of one kind in memory.
type rowTree interface {
	copy() rowTree
	set(c *catalog, key string, value []byte) error
	// puts returns changes that make the rows what they are.
	puts(tb table) []change
	// keys returns the keys that begin with prefix, in order.
	keys(prefix string) []string
}

// tree is rows of type T.
type tree[T any] struct {
	*btree.Map[string, T]

	loaded func(c *catalog, key string, row *T) // completes a row that was decoded; may be nil
}

func inMemory[T any]() rowTree { return &tree[T]{Map: new(btree.Map[string, T])} }

func (t *tree[T]) copy() rowTree { return &tree[T]{Map: t.Copy(), loaded: t.loaded} }

func (t *tree[T]) set(c *catalog, key string, value []byte) error {
	if value == nil {
		t.Delete(key)
		return nil
	}
	var row T
	if err := cborDecode(value, &row); err != nil {
		return err
	}
	if t.loaded != nil {
		t.loaded(c, key, &row)
	}
	t.Set(key, row)
	return nil
}

func (t *tree[T]) puts(tb table) (out []change) {
	t.Scan(func(k string, v T) bool {
		out = append(out, change{table: tb, key: []byte(k), value: cborEncode(v)})
		return true
	})
	return out
}

func (t *tree[T]) keys(prefix string) (keys []string) {
	t.Ascend(prefix, func(k string, _ T) bool {
		if !strings.HasPrefix(k, prefix) {
			return false
		}
		keys = append(keys, k)
		return true
	})
	return keys
}

func newCatalog(sequence func(app string) *sequence) *catalog {
	c := &catalog{sequence: sequence}
	for t, k := range kinds {
		if k != nil && k.catalog != nil {
			c.trees[t] = k.catalog()
		}
	}
	return c
}

func (c *catalog) copy() *catalog {
	d := *c
	for t, rows := range d.trees {
		if rows != nil {
			d.trees[t] = rows.copy()
		}
	}
	return &d
}

// set takes one change in. Tables that the catalog does not hold do not concern
// it.
func (c *catalog) set(ch change) error {
	if !ch.table.inCatalog() {
		return nil
	}
	return c.trees[ch.table].set(c, string(ch.key), ch.value)
}

// puts returns changes that make the catalog what it is.
func (c *catalog) puts() (out []change) {
	for t, rows := range c.trees {
		if rows != nil {
			out = append(out, rows.puts(table(t))...) // #nosec G115 -- below maxTables
		}
	}
	return out
}

// rowsOf returns the rows of a kind whose catalog is inMemory[T].
func rowsOf[T any](c *catalog, tb table) *btree.Map[string, T] { return c.trees[tb].(*tree[T]).Map }

// each goes through the rows whose key begins with prefix, in order.
func each[T any](m *btree.Map[string, T], prefix string) iter.Seq[T] {
	return func(yield func(T) bool) {
		m.Ascend(prefix, func(k string, v T) bool { return strings.HasPrefix(k, prefix) && yield(v) })
	}
}

// under returns the rows whose key begins with prefix, in order.
func under[T any](m *btree.Map[string, T], prefix string) []T { return slices.Collect(each(m, prefix)) }

// pair joins the two parts of a composite key.
func pair(app, name string) string { return app + "\x00" + name }

// app finds an app.
func (c *catalog) app(name string) (*appRow, error) {
	row, ok := c.apps().Get(name)
	if !ok {
		return nil, picloud.ErrAppNotFound
	}
	return row, nil
}
