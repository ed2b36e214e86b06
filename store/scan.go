package store

import (
	"strings"

	"github.com/tidwall/btree"
	"go.etcd.io/bbolt"
)

// scan calls fn with the rows of a table whose keys begin with prefix, in order,
// from the first that is not below from, until fn returns false. What fn gets it
// may keep, but not change. Nothing is held up meanwhile, as long as fn is
// quick: a row that changes while the scan goes on is seen before or after.
func (t *tables) scan(tb table, prefix, from string, fn func(key string, value []byte) bool) {
	prefix = rowKey(tb, []byte(prefix))
	start := max(prefix, rowKey(tb, []byte(from)))
	sources := []source{}
	t.mu.Lock() // what is read from now on must not change below
	sources = append(sources, newMemory(t.live.Copy(), start))
	if t.frozen != nil {
		sources = append(sources, newMemory(t.frozen.Copy(), start))
	}
	t.mu.Unlock()
	merge := func(sources []source) {
		for {
			first := -1 // of the newest of those that have the lowest key
			for i, s := range sources {
				if s.ok() && (first < 0 || s.key() < sources[first].key()) {
					first = i
				}
			}
			if first < 0 {
				return
			}
			key, value := sources[first].key(), sources[first].value()
			if !strings.HasPrefix(key, prefix) {
				return
			}
			for _, s := range sources {
				if s.ok() && s.key() == key {
					s.next()
				}
			}
			if value != nil && !fn(key[1:], value) {
				return
			}
		}
	}
	if t.db == nil {
		merge(sources)
		return
	}
	_ = t.db.View(func(tx *bbolt.Tx) error { // fails only when closed: then there is nothing to find
		merge(append(sources, newDisk(t, tx, start)))
		return nil
	})
}

// keys returns the keys of rows that begin with prefix, until they and their removal
// take about so many bytes of a commit. There are more when more is true.
func (t *tables) keys(tb table, prefix string, limit int) (keys []string, more bool) {
	size := 0
	t.scan(tb, prefix, "", func(k string, _ []byte) bool {
		if more = size >= limit; more {
			return false
		}
		size += recordCost + len(k)
		keys = append(keys, k)
		return true
	})
	return keys, more
}

// count counts rows whose keys begin with prefix, up to a limit.
func (t *tables) count(tb table, prefix string, limit int) int {
	n := 0
	t.scan(tb, prefix, "", func(string, []byte) bool {
		n++
		return n < limit
	})
	return n
}

// source is a sorted run of rows.
type source interface {
	ok() bool
	key() string
	value() []byte // nil: deleted
	next()
}

// memory is a source over a tree.
type memory struct {
	it  btree.MapIter[string, []byte]
	has bool
}

func newMemory(m *btree.Map[string, []byte], start string) *memory {
	s := &memory{it: m.Iter()}
	s.has = s.it.Seek(start)
	return s
}

func (s *memory) ok() bool      { return s.has }
func (s *memory) key() string   { return s.it.Key() }
func (s *memory) value() []byte { return s.it.Value() }
func (s *memory) next()         { s.has = s.it.Next() }

// disk is a source over state.db. Rows that are not what was written are not there.
type disk struct {
	t    *tables
	c    *bbolt.Cursor
	k, v []byte
	text string
}

func newDisk(t *tables, tx *bbolt.Tx, start string) *disk {
	s := &disk{t: t}
	s.move(func() ([]byte, []byte) {
		s.c = tx.Bucket(bucketRows).Cursor()
		return s.c.Seek([]byte(start))
	})
	return s
}

// move goes to the row that to moves the cursor to, or to the next one that is what was
// written.
func (s *disk) move(to func() (key, kept []byte)) {
	s.k, s.v, s.text = nil, nil, ""
	defer s.t.guard()()
	k, kept := to()
	for ; k != nil; k, kept = s.c.Next() {
		v, ok := s.t.db.seal.open(k, kept)
		if ok {
			s.k, s.v, s.text = k, v, string(k)
			return
		}
		s.t.damaged(k, errChecksum)
	}
}

func (s *disk) ok() bool      { return s.k != nil }
func (s *disk) key() string   { return s.text }
func (s *disk) value() []byte { return append(make([]byte, 0, len(s.v)), s.v...) }
func (s *disk) next()         { s.move(s.c.Next) }
