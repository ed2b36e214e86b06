package store

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/picloud/picloud/journal"
)

// FormatVersion is the newest format this version reads.
const FormatVersion = formatVersion

// FloorRows returns how many floors are kept.
func (s *Store) FloorRows() int { return s.catalog.Load().floors().Len() }

// IndexRows counts the rows of all indexes of documents.
func (s *Store) IndexRows() int { return s.tables.count(tableDocIndex, "", 1<<30) }

// ExpiryRows counts the ends of rows.
func (s *Store) ExpiryRows() int { return s.tables.count(tableExpiry, "", 1<<30) }

// FreshRunBytes returns how much the records of runs take that wait for the journal.
func (s *Store) FreshRunBytes() int {
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	return s.runs.bytes
}

// RunsAreDue lets the records of runs that wait be written with the next commit.
func (s *Store) RunsAreDue() {
	s.runs.mu.Lock()
	defer s.runs.mu.Unlock()
	s.runs.since = s.runs.since.Add(-runsEvery)
}

// Counted returns what the account of an app says.
func (s *Store) Counted(app string) string { return describe(s.sequenceOf(app).account.read()) }

// Recounted returns what it has to say, by the rows there are.
func (s *Store) Recounted(app string) string {
	var u usage
	for _, tb := range tablesWhere(func(k *rowKind) bool { return k.holds != nil }) {
		s.tables.scan(tb, "", "", func(key string, row []byte) bool {
			if c := (change{table: tb, key: []byte(key)}); s.accountOf(c) == &s.sequenceOf(app).account {
				tb.kind().holds(&u, c.key, row, 1)
			}
			return true
		})
	}
	return describe(u)
}

func describe(u usage) string {
	slices.SortFunc(u.keys[:], func(a, b periodCount) int { return cmp.Compare(a.period, b.period) })
	for i := range u.keys {
		if u.keys[i].n == 0 {
			u.keys[i].period = 0
		}
	}
	return fmt.Sprintf("%+v", u)
}

// MissingKinds lists what there is no example of in a data directory: tables, kinds of
// records, versions of events, complete segments, records beyond the checkpoint.
func MissingKinds(dir string) (missing []string, err error) {
	seen := map[string]bool{}
	var meta checkpointMeta
	err = peekBolt(filepath.Join(dir, stateFile), func(f *pageFile) error {
		var r stateReading
		r.row = func(key, _ []byte) error {
			seen[tableName(key[0])] = true
			return nil
		}
		err := r.read(f)
		meta = r.meta
		return err
	})
	if err != nil {
		return nil, err
	}
	const footer, beyond = "complete segment with a footer", "record beyond the checkpoint"
	err = journal.Peek(journal.Config{Dir: filepath.Join(dir, "journal")}, 0, func(file string, r *journal.Record) error {
		seen[kindName(r.Kind)] = true
		switch r.Kind {
		case kindEvent:
			seen[eventName(r.Body[0])] = true
		case kindChange:
			seen[tableName(r.Body[0])] = true
		}
		seen[beyond] = seen[beyond] || r.LSN > meta.LSN
		b, err := os.ReadFile(filepath.Join(dir, "journal", file))
		seen[footer] = seen[footer] || bytes.Contains(b[max(0, len(b)-48):], []byte("PICLOUDF"))
		return err
	})
	if err != nil {
		return nil, err
	}
	wanted := []string{kindName(kindEvent), kindName(kindChange), kindName(kindStop), eventName(eventVersion), eventName(eventStamped), eventName(eventVersion + eventHops), footer, beyond}
	for t := range table(255) {
		if t.known() && t != tableToy {
			wanted = append(wanted, tableName(byte(t)))
		}
	}
	for _, w := range wanted {
		if !seen[w] {
			missing = append(missing, w)
		}
	}
	return missing, nil
}

// SealedRow returns a row as a state.db keeps it.
func SealedRow(path string, key, value []byte) (kept []byte, err error) {
	err = peekBolt(path, func(f *pageFile) error {
		var r stateReading
		err := r.read(f)
		kept, _ = r.meta.seal().add(key, value)
		return err
	})
	return kept, err
}

// MetaSum returns the checksum of what a state.db says of itself.
func MetaSum(text []byte) []byte {
	sum, _ := seal{}.add(text, nil)
	return sum
}

func tableName(t byte) string   { return fmt.Sprintf("row of table %d", t) }
func kindName(kind byte) string { return fmt.Sprintf("record of kind %d", kind) }
func eventName(v byte) string   { return fmt.Sprintf("event of version %d", v) }

// TableBytes returns the bytes of rows that are in memory and not in state.db.
func (s *Store) TableBytes() int { return s.tables.memory() }

// StateBytesUsed returns the bytes of the pages of state.db that are in use.
func (s *Store) StateBytesUsed() int64 { return usedBytes(s.tables.db.DB) }

// CheckState walks all pages of state.db.
func (s *Store) CheckState() error {
	return s.tables.db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	})
}

// Incident keeps a loss.
func (s *Store) Incident(text string) { s.incident(text) }
