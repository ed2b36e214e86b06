package store

import (
	"runtime/debug"
	"sync"

	"github.com/tidwall/btree"
	"go.etcd.io/bbolt"
)

// rowKey is a key as the ordered tables hold it: the table's number first, so
// that one bbolt bucket and one tree in memory serve all tables.
func rowKey(t table, key []byte) string { return string(byte(t)) + string(key) }

// tables are the rows of all tables: what changed lately in memory, over what
// is being written to state.db right now, over state.db.
//
// One goroutine (the committer) writes; any may read.
type tables struct {
	mu     sync.RWMutex               // guards live and frozen, not what is in the frozen tree
	live   *btree.Map[string, []byte] // nil value: deleted
	frozen *btree.Map[string, []byte] // nil while no checkpoint is under way
	size   int                        // bytes in live
	db     *stateDB                   // nil: there is none, and none can be made

	// damaged is told of a row that is not what was written, or of nil when it is not known
	// which rows a part of the file that cannot be read has.
	damaged func(key []byte, cause error)

	pending *pending
}

// newTables returns the tables over a state.db, for triggers of which each may have
// maxWaiting positions.
func newTables(db *stateDB, maxWaiting int) *tables {
	return &tables{live: new(btree.Map[string, []byte]), db: db, pending: newPending(maxWaiting), damaged: func([]byte, error) {}}
}

// rowCost is what a row costs in memory beside its bytes, roughly.
const rowCost = 64

// put takes changes into memory. The values belong to the tables from then on.
func (t *tables) put(changes []change) {
	if len(changes) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range changes {
		key := rowKey(c.table, c.key)
		before, known := t.live.Set(key, c.value)
		t.size += len(c.key) + len(c.value) + rowCost
		if t.pending.counts(c.table) {
			t.countPending(c, key, before != nil, known)
		}
	}
}

// countPending counts a change of a delivery: there says whether the row was there before,
// if that is known. The caller holds mu.
func (t *tables) countPending(c change, key string, there, known bool) {
	if !known && (c.value == nil || c.table != tableWaiting) { // a record makes a trigger wait once: a new position is new
		there = t.pending.any(c.table, key[1:]) && t.below(key)
	}
	switch {
	case c.value != nil && !there:
		t.pending.add(c.table, key[1:], 1)
	case c.value == nil && there:
		t.pending.add(c.table, key[1:], -1)
	}
}

// below reports whether there is a row below those that changed lately. The caller
// holds mu.
func (t *tables) below(key string) (there bool) {
	if t.frozen != nil {
		if v, ok := t.frozen.Get(key); ok {
			return v != nil
		}
	}
	if t.db == nil {
		return false
	}
	return t.read([]byte(key)) != nil
}

// get returns a row, or nil when there is none. Callers must not change its bytes.
func (t *tables) get(tb table, key []byte) []byte {
	k := rowKey(tb, key)
	t.mu.RLock()
	v, ok := t.live.Get(k)
	if !ok && t.frozen != nil {
		v, ok = t.frozen.Get(k)
	}
	t.mu.RUnlock()
	if ok || t.db == nil {
		return v
	}
	return t.read([]byte(k))
}

// read returns a row of state.db, or nil when there is none that is what was written.
func (t *tables) read(key []byte) (v []byte) {
	defer t.guard()()
	_ = t.db.View(func(tx *bbolt.Tx) error { // fails only when closed: then there is nothing to find
		kept := tx.Bucket(bucketRows).Get(key)
		if kept == nil {
			return nil
		}
		value, ok := t.db.seal.open(key, kept)
		if !ok {
			t.damaged(key, errChecksum)
			return nil
		}
		v = append(make([]byte, 0, len(value)), value...)
		return nil
	})
	return v
}

// guard makes the caller survive until it returns what bbolt does on pages that have
// become illegible since they were checked: such rows are not there. It is deferred in
// two steps: defer t.guard()().
func (t *tables) guard() func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			t.damaged(nil, illegible(r))
		}
	}
}

// freeze begins a checkpoint: what changed so far is returned and will not
// change any more; what comes goes to a fresh tree.
func (t *tables) freeze() *btree.Map[string, []byte] {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frozen, t.live, t.size = t.live, new(btree.Map[string, []byte]), 0
	return t.frozen
}

// thaw ends a checkpoint. When it failed its rows go back below the newer ones.
func (t *tables) thaw(written bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !written {
		t.live.Scan(func(k string, v []byte) bool {
			t.frozen.Set(k, v)
			return true
		})
		t.live = t.frozen
	}
	t.frozen, t.size = nil, 0
	t.live.Scan(func(k string, v []byte) bool {
		t.size += len(k) + len(v) + rowCost
		return true
	})
}

func (t *tables) memory() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.size
}

func (t *tables) close() error {
	if t.db == nil {
		return nil
	}
	return t.db.Close()
}
