package store

import (
	"bytes"
	"sync"

	"github.com/tidwall/btree"
	"go.etcd.io/bbolt"
)

// table names one kind of row. The numbers are on the disk: never change or
// reuse one.
type table byte

const (
	tableApp      table = 1  // app name
	tableTopic    table = 2  // app, zero byte, topic name
	tableKey      table = 3  // API key id
	tableSigning  table = 4  // app, zero byte, signing key id
	tableFloor    table = 5  // app, zero byte, topic name: events up to this sequence are not visible
	tableSequence table = 6  // app name: the sequence of its newest event
	tableIdem     table = 7  // day, app, zero byte, idempotency key
	tableAnchor   table = 8  // empty: where the catalog was last repeated in the journal
	tableCursor   table = 9  // owner: how far it has come in the journal
	tableNote     table = 10 // name: what a part of the node wants to find again after a restart
	tableClock    table = 11 // boot: a start of the board whose clock could not be believed at first
	tableKV       table = 12 // app, zero byte, key
	tableExpiry   table = 13 // time, key of a row: when to look at it; the value is its table. Follows from the row
	tableScript   table = 14 // app, zero byte, script name

	tableScriptVersion table = 15 // app, zero byte, script name, zero byte, version: what it was
	tableRun           table = 16 // app, zero byte, script name, zero byte, run id: how a run went
	tableTrigger       table = 17 // app, zero byte, trigger name
	tableDelivery      table = 18 // app, zero byte, trigger id, zero byte, LSN: what is owed. Follows from the journal
	tableAttempt       table = 19 // the key of a delivery: how often it was tried in vain
	tableTick          table = 20 // app, zero byte, trigger id, zero byte: the last time that came
	tableLetter        table = 21 // app, zero byte, dead letter id
	tableCollection    table = 22 // app, zero byte, collection name
	tableDoc           table = 23 // app, zero byte, collection name, zero byte, document id
	tableDocIndex      table = 24 // see docindex.go. Follows from the two before
	tableEndpoint      table = 25 // app, zero byte, endpoint name
	tableSecret        table = 26 // app, zero byte, secret name
	tableResult        table = 27 // app, zero byte, result id: what a request was answered later
	tableFile          table = 28 // app, zero byte, path: what there is to know of a file beside its content
)

// kinds says of the tables this version knows what their rows are.
var kinds = [...]struct {
	name    string // for people
	catalog bool   // they are held in memory as a whole
	data    bool   // they are what apps keep: too much to be repeated in the journal
}{
	tableApp: {name: "apps", catalog: true}, tableTopic: {name: "topics", catalog: true}, tableKey: {name: "API keys", catalog: true},
	tableSigning: {name: "signing keys", catalog: true}, tableFloor: {name: "floors", catalog: true}, tableNote: {name: "notes", catalog: true},
	tableClock: {name: "clocks", catalog: true}, tableTrigger: {name: "triggers", catalog: true}, tableEndpoint: {name: "endpoints", catalog: true},
	tableCollection: {name: "collections", catalog: true},

	tableKV: {name: "key-value pairs", data: true}, tableDoc: {name: "documents", data: true}, tableSecret: {name: "secrets", data: true},
	tableScript: {name: "scripts", data: true}, tableScriptVersion: {name: "versions of scripts", data: true}, tableRun: {name: "runs", data: true},
	tableDelivery: {name: "deliveries", data: true}, tableAttempt: {name: "attempts", data: true}, tableTick: {name: "ticks", data: true},
	tableLetter: {name: "dead letters", data: true}, tableResult: {name: "results", data: true}, tableFile: {name: "files", data: true},

	tableSequence: {name: "sequences"}, tableIdem: {name: "idempotency keys"}, tableAnchor: {name: "anchor"}, tableCursor: {name: "cursors"},
	tableExpiry: {name: "ends of rows"}, tableDocIndex: {name: "indexes of documents"},
}

// dataTables are the tables of what apps keep.
var dataTables = func() (list []table) {
	for t := range kinds {
		if kinds[t].data {
			list = append(list, table(t))
		}
	}
	return list
}()

func (t table) known() bool     { return int(t) < len(kinds) && kinds[t].name != "" }
func (t table) inCatalog() bool { return t.known() && kinds[t].catalog }
func (t table) isData() bool    { return t.known() && kinds[t].data }

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
	db     *bbolt.DB                  // nil: there is none, and none can be made
}

func newTables(db *bbolt.DB) *tables {
	return &tables{live: new(btree.Map[string, []byte]), db: db}
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
		t.live.Set(rowKey(c.table, c.key), c.value)
		t.size += len(c.key) + len(c.value) + rowCost
	}
}

// get returns a row, or nil when there is none. Nobody may change its bytes.
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
	_ = t.db.View(func(tx *bbolt.Tx) error { // fails only when closed: then there is nothing to find
		v = bytes.Clone(tx.Bucket(bucketRows).Get([]byte(k)))
		return nil
	})
	return v
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
