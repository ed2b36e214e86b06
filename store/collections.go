package store

import (
	"context"
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

const tableCollection table = 22 // app, zero byte, collection name

var collectionKind = rowKind{
	name: "collections", catalog: inMemory[collectionRow], describesData: true,
	derive: deriveIndexes,
	copied: copies[picloud.Collection]{
		as: picloud.ChangeCollection,
		from: func(_ string, row []byte) (picloud.Collection, error) {
			r, err := decodeAs[collectionRow](row)
			return r.Collection, err
		},
		check: checkCollection,
		to: func(r *restorer, c picloud.Collection) ([]change, error) {
			fresh := collectionRow{Collection: c}
			for i, f := range c.Indexes {
				fresh.Indexes = append(fresh.Indexes, indexRow{ID: indexID(r.lsn, i), Field: f})
			}
			return putOf(tableCollection, pair(c.App, c.Name), fresh), nil
		},
	},
}

func (c *catalog) collections() *btree.Map[string, collectionRow] {
	return rowsOf[collectionRow](c, tableCollection)
}

// collectionRow is a declared collection as it is kept, with how far its indexes
// have come.
type collectionRow struct {
	Collection picloud.Collection
	Indexes    []indexRow
}

// indexRow is an index. While it is built, documents up to an id are in it; one
// that is not wanted any more is taken down in steps, too.
type indexRow struct {
	ID       uint64 // never used again
	Field    string
	Built    string // id of the last document that was put in
	Ready    bool   // all of them were
	Dropping bool
}

// covers reports whether a document belongs into the index as far as it has come.
func (i *indexRow) covers(id string) bool { return !i.Dropping && (i.Ready || id <= i.Built) }

// working returns the index that is to be built or taken down next; -1: none.
func (r *collectionRow) working() int {
	return slices.IndexFunc(r.Indexes, func(i indexRow) bool { return i.Dropping || !i.Ready })
}

// Collections returns the collections of an app that are declared, or have
// documents, sorted by name.
func (s *Store) Collections(app string) ([]picloud.Collection, error) {
	c := s.catalog.Load()
	if _, err := c.app(app); err != nil {
		return nil, err
	}
	byName := map[string]picloud.Collection{}
	for r := range each(c.collections(), pair(app, "")) {
		byName[r.Collection.Name] = r.Collection
	}
	for from, more := "", true; more; { // one look for each
		more = false
		s.tables.scan(tableDoc, pair(app, ""), pair(app, from), func(k string, _ []byte) bool {
			_, name, _ := splitDocKey(k)
			if _, ok := byName[name]; !ok {
				byName[name] = picloud.Collection{App: app, Name: name}
			}
			from, more = name+"\x01", true
			return false
		})
	}
	var list []picloud.Collection
	for _, one := range byName {
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b picloud.Collection) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// SaveCollection declares by which fields documents are found, and returns when
// the indexes are there.
func (s *Store) SaveCollection(ctx context.Context, c picloud.Collection) (picloud.Collection, error) {
	if err := checkCollection(&c); err != nil {
		return picloud.Collection{}, err
	}
	saved, err := ask(ctx, s, configOf(c.App), 0, func(tx *tx) (picloud.Collection, error) { return tx.declare(c) })
	for err == nil && s.catalog.Load().collection(c.App, c.Name).working() >= 0 {
		if s.space.full.Load() {
			return saved, picloud.ErrNoSpace
		}
		err = s.doSoft(ctx, configOf(c.App), func(tx *tx) error { // the committer builds a part between others
			tx.s.commit.building = true
			return nil
		})
	}
	return saved, err
}

// checkCollection checks the name and the fields, and brings these into order.
func checkCollection(c *picloud.Collection) error {
	if err := check.Handle("collection", c.Name); err != nil {
		return err
	}
	if len(c.Indexes) > picloud.MaxIndexes {
		return picloud.ErrQueryInvalid.Detailf("indexes: use at most %d", picloud.MaxIndexes)
	}
	c.Indexes = slices.Clone(c.Indexes)
	slices.Sort(c.Indexes)
	c.Indexes = slices.Compact(c.Indexes)
	for _, f := range c.Indexes {
		if err := check.Field(f); err != nil {
			return err
		}
	}
	return nil
}

// indexID names the i-th index that the change at an LSN declares: no other ever
// has that name.
func indexID(lsn uint64, i int) uint64 { return lsn<<8 | uint64(i) } // #nosec G115 -- at most MaxIndexes

func (t *tx) declare(c picloud.Collection) (picloud.Collection, error) {
	if _, err := t.catalog.app(c.App); err != nil {
		return c, err
	}
	r := t.catalog.collection(c.App, c.Name)
	if r.Collection.Name != "" && slices.Equal(r.Collection.Indexes, c.Indexes) {
		return r.Collection, nil
	}
	if c.CreatedAt = r.Collection.CreatedAt; c.CreatedAt.IsZero() {
		c.CreatedAt = fromMicros(t.at)
	}
	if r.Collection.Name == "" && len(t.catalog.trees[tableCollection].keys(pair(c.App, ""))) >= picloud.MaxCollections {
		return c, picloud.ErrQueryInvalid.Detailf("the app has %d declared collections, which is the limit; delete some first. Documents need no declaration", picloud.MaxCollections)
	}
	c.UpdatedAt = fromMicros(t.at)
	r.Collection = c
	wanted := slices.Clone(c.Indexes)
	r.Indexes = slices.Clone(r.Indexes)
	for i := range r.Indexes {
		at := slices.Index(wanted, r.Indexes[i].Field)
		if at < 0 || r.Indexes[i].Dropping {
			r.Indexes[i].Dropping = true
			continue
		}
		wanted = slices.Delete(wanted, at, at+1)
	}
	for i, f := range wanted {
		r.Indexes = append(r.Indexes, indexRow{ID: indexID(t.lsn(), i), Field: f})
	}
	t.put(tableCollection, pair(c.App, c.Name), r)
	return c, nil
}

// collection returns the row of a collection; zero: it is not declared.
func (c *catalog) collection(app, name string) *collectionRow {
	if r, ok := c.collections().Get(pair(app, name)); ok {
		return &r
	}
	return &collectionRow{}
}

// DeleteCollection removes a collection with its documents.
func (s *Store) DeleteCollection(ctx context.Context, app, name string) error {
	for found := false; ; {
		part, err := ask(ctx, s, configOf(app), 0, func(tx *tx) (removed, error) { return tx.removeCollection(app, name) })
		found = found || part.any
		switch {
		case err != nil:
			return err
		case part.more:
		case !found:
			return picloud.ErrCollectionNotFound
		default:
			return nil
		}
	}
}

// removed is how a part of a deletion went.
type removed struct {
	any  bool // something was removed
	more bool // something is left
}

// removeCollection removes a part of the documents of a collection, and at last
// the collection.
func (t *tx) removeCollection(app, name string) (r removed, err error) {
	if _, err := t.catalog.app(app); err != nil {
		return r, err
	}
	keys, more := t.s.tables.keys(tableDoc, docKey(app, name, ""), t.s.chunk())
	more = !t.removeSome(tableDoc, keys) || more
	r = removed{any: len(keys) > 0, more: more}
	row, declared := t.catalog.collections().Get(pair(app, name))
	if more || !declared {
		return r, nil
	}
	r.any = true
	r.more = slices.ContainsFunc(row.Indexes, func(i indexRow) bool { return i.Dropping }) // the committer takes it down first
	if !r.more {
		t.remove(tableCollection, pair(app, name))
	}
	return r, nil
}

// The documents that are put into an index in one commit are bounded by their number, and
// by their bytes: reading a large one takes milliseconds.
const (
	buildChunk = 500
	indexBytes = 256 << 10
)

// buildIndexes does a part of what is left to build or to take down, and reports
// whether there is more. Called by the committer.
func (s *Store) buildIndexes() (more bool, err error) {
	c := s.catalog.Load()
	if s.readOnly || s.space.full.Load() {
		return false, nil
	}
	key, at := "", -1
	c.collections().Scan(func(k string, r collectionRow) bool {
		key, at = k, r.working()
		return at < 0
	})
	if at < 0 {
		return false, nil
	}
	g := s.commit.group
	s.beginGroup(g)
	if err := s.stageChanges(g, func(tx *tx) error { return tx.build(key, at) }); err != nil {
		return false, err
	}
	return true, s.commitGroup(g)
}

func (t *tx) build(key string, at int) error {
	r, _ := t.catalog.collections().Get(key)
	r.Indexes = slices.Clone(r.Indexes)
	ix := &r.Indexes[at]
	if ix.Dropping {
		if t.s.tables.count(tableDocIndex, indexPrefix(key, ix.ID), buildChunk+1) <= buildChunk {
			r.Indexes = slices.Delete(r.Indexes, at, at+1)
		}
		t.put(tableCollection, key, r)
		return nil
	}
	last, n, size := "", 0, 0
	ix.Ready = true
	t.s.tables.scan(tableDoc, key+"\x00", key+"\x00"+ix.Built, func(k string, v []byte) bool {
		_, _, id := splitDocKey(k)
		if id == ix.Built && id != "" {
			return true
		}
		if n == buildChunk || size >= indexBytes {
			ix.Ready = false
			return false
		}
		last = id
		n++
		size += len(v)
		return true
	})
	if last != "" {
		ix.Built = last
	}
	t.put(tableCollection, key, r)
	return nil
}
