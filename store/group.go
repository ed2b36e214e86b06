package store

import (
	"bytes"
	"slices"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// group is what one commit takes along. One is reused for all commits.
type group struct {
	at       int64          // the time of everything in it, microseconds
	stamp    *picloud.Stamp // nil: that time can be believed
	now      int64          // what rows end by: see Store.Now
	idem     idemPeriod     // of the newest event with a key; no number: it has none
	catalog  *catalog       // with what was staged
	changed  bool           // the catalog differs from the committed one
	records  []journal.Record
	changes  []change
	notices  []notice
	touched  []*sequence
	accounts []*account // that have changed; some several times
	counted  []counted  // by the command at hand
	seen     change     // the row that it looked at last; no table: none
	commands []*command
	names    newNames
	hard     bool   // must be fsynced before it is answered
	size     int    // upper bound of its bytes in the journal
	arena    []byte // keys and bodies of the records

	latest map[string]int // of the first known changes: which one is the latest of each row
	known  int
}

// notice is something the broadcaster is told after the commit.
type notice struct {
	events     []picloud.Event
	revocation *picloud.Revocation
}

// arenaKept bounds what an exceptionally large group leaves behind.
const arenaKept = 256 << 10

func (g *group) begin(committed *catalog, at int64) {
	clear(g.records)
	clear(g.changes)
	clear(g.notices)
	clear(g.commands)
	g.names.begin()
	arena := g.arena[:0]
	if cap(arena) > arenaKept {
		arena = nil
	}
	*g = group{
		at: at, now: at, catalog: committed, records: g.records[:0], changes: g.changes[:0], notices: g.notices[:0],
		names: g.names, touched: g.touched[:0], accounts: g.accounts[:0], counted: g.counted[:0], seen: change{key: g.seen.key[:0]}, commands: g.commands[:0], arena: arena,
	}
}

// hold keeps what fn appends until the group is written.
func (g *group) hold(fn func([]byte) []byte) []byte {
	start := len(g.arena)
	g.arena = fn(g.arena)
	return g.arena[start:len(g.arena):len(g.arena)]
}

// encoded is an upper bound of the bytes the records take in the journal.
func (g *group) encoded() int { return len(g.arena) + recordCost*len(g.records) }

// see notes a row as the command at hand knows it.
func (g *group) see(tb table, key, row []byte) {
	g.seen = change{table: tb, key: append(g.seen.key[:0], key...), value: row}
}

func (g *group) touch(q *sequence) { g.touched = append(g.touched, q) }

// fewChanges is how many changes are looked through one by one.
const fewChanges = 16

// staged finds a row the group is about to write; a nil value is that of a row
// that is about to go.
func (g *group) staged(t table, key []byte) (value []byte, ok bool) {
	if len(g.changes) <= fewChanges {
		for _, c := range slices.Backward(g.changes) {
			if c.table == t && bytes.Equal(c.key, key) {
				return c.value, true
			}
		}
		return nil, false
	}
	if g.latest == nil {
		g.latest = make(map[string]int, 2*len(g.changes))
	}
	for ; g.known < len(g.changes); g.known++ {
		g.latest[rowKey(g.changes[g.known].table, g.changes[g.known].key)] = g.known
	}
	i, ok := g.latest[rowKey(t, key)]
	if !ok {
		return nil, false
	}
	return g.changes[i].value, true
}

// holdsData reports whether the group writes data of an app, which no scan finds
// before it is committed.
func (g *group) holdsData(app string) bool {
	prefix := []byte(pair(app, ""))
	return slices.ContainsFunc(g.changes, func(c change) bool {
		switch {
		case c.value == nil:
			return false
		case c.table == tableIdem:
			return bytes.HasPrefix(c.key[idemPeriodBytes:], prefix)
		}
		return c.table.isData() && bytes.HasPrefix(c.key, prefix)
	})
}

func (g *group) topicDurability(app, topic string) picloud.Durability {
	var buf [picloud.MaxAppName + 2 + picloud.MaxTopicName]byte
	t, ok := g.catalog.topics().Get(string(eventKey(buf[:0], app, topic)))
	if !ok {
		return picloud.DurabilitySync
	}
	return t.Durability
}
