package store

import (
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
)

// catalog is what the hot paths look up: apps, topics, keys. It is held in
// memory as a whole. A published catalog never changes; the committer works on
// a copy, which costs nothing until a row changes.
type catalog struct {
	apps    *btree.Map[string, *appRow]
	topics  *btree.Map[string, picloud.Topic] // by eventKey
	keys    *btree.Map[string, picloud.APIKey]
	signing *btree.Map[string, picloud.SigningKey] // by app, zero byte, key id
	notes   *btree.Map[string, []byte]
	clocks  *btree.Map[string, clockRow]

	triggers    *btree.Map[string, picloud.Trigger]  // by app, zero byte, name
	endpoints   *btree.Map[string, picloud.Endpoint] // by app, zero byte, name
	collections *btree.Map[string, collectionRow]    // by app, zero byte, name

	floors *btree.Map[string, uint64] // by eventKey; of topics that were deleted, or part of whose history was dropped
}

func newCatalog() *catalog {
	return &catalog{
		apps:    new(btree.Map[string, *appRow]),
		topics:  new(btree.Map[string, picloud.Topic]),
		keys:    new(btree.Map[string, picloud.APIKey]),
		signing: new(btree.Map[string, picloud.SigningKey]),
		notes:   new(btree.Map[string, []byte]),
		clocks:  new(btree.Map[string, clockRow]),
		floors:  new(btree.Map[string, uint64]),

		triggers:    new(btree.Map[string, picloud.Trigger]),
		endpoints:   new(btree.Map[string, picloud.Endpoint]),
		collections: new(btree.Map[string, collectionRow]),
	}
}

func (c *catalog) copy() *catalog {
	return &catalog{apps: c.apps.Copy(), topics: c.topics.Copy(), keys: c.keys.Copy(), signing: c.signing.Copy(), notes: c.notes.Copy(), clocks: c.clocks.Copy(), floors: c.floors.Copy(), triggers: c.triggers.Copy(), collections: c.collections.Copy(), endpoints: c.endpoints.Copy()}
}

// appRow is an app as it is kept. Born is the sequence of the name's history at
// which this app began: events up to it belonged to a deleted app of the same
// name.
type appRow struct {
	App  picloud.App
	Born uint64

	sequence *sequence
}

// sequence counts the events of one app name. It outlives the app, so that a
// position is never used twice.
type sequence struct {
	last    uint64        // staged by the committer, and seen by nobody else
	visible atomic.Uint64 // committed
}

// apply takes one change of a row in. Tables that the catalog does not hold do
// not concern it.
func (c *catalog) apply(ch change, seq func(app string) *sequence) error {
	key := string(ch.key)
	switch ch.table {
	case tableApp:
		if ch.value == nil {
			c.apps.Delete(key)
			return nil
		}
		row := &appRow{sequence: seq(key)}
		if err := cborDecode(ch.value, row); err != nil {
			return err
		}
		c.apps.Set(key, row)
		return nil
	case tableTopic:
		return applyRow(c.topics, key, ch.value)
	case tableKey:
		return applyRow(c.keys, key, ch.value)
	case tableSigning:
		return applyRow(c.signing, key, ch.value)
	case tableFloor:
		return applyRow(c.floors, key, ch.value)
	case tableNote:
		return applyRow(c.notes, key, ch.value)
	case tableClock:
		return applyRow(c.clocks, key, ch.value)
	case tableTrigger:
		return applyRow(c.triggers, key, ch.value)
	case tableEndpoint:
		return applyRow(c.endpoints, key, ch.value)
	case tableCollection:
		return applyRow(c.collections, key, ch.value)
	default:
		return nil
	}
}

func applyRow[T any](m *btree.Map[string, T], key string, value []byte) error {
	if value == nil {
		m.Delete(key)
		return nil
	}
	var row T
	if err := cborDecode(value, &row); err != nil {
		return err
	}
	m.Set(key, row)
	return nil
}

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
	row, ok := c.apps.Get(name)
	if !ok {
		return nil, picloud.ErrAppNotFound
	}
	return row, nil
}
