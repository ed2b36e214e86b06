package store

import (
	"bytes"
	"fmt"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

const tableAnchor table = 8 // empty, or data: where the catalog was last repeated in the journal; dropped: what that is dropped below; node: whose it is

var anchorKind = rowKind{name: "anchor", journalOnly: true, recovered: (*Store).recoverAnchor}

// An anchor repeats the catalog in the journal before old segments are dropped,
// so that the journal alone can always bring back apps, topics and keys: losing
// state.db then loses nothing of these. What apps keep as data is too much to be
// repeated: an anchor only says that there is some. It ends with a row that says
// where it began.

// The keys of the row that says that there is data, of the one that says what the journal
// is dropped below, and of the one that says which node has written it: who it was when
// node.json and state.db are lost. A checkpoint has the second, too.
var (
	anchorData    = []byte("data")
	anchorDropped = []byte("dropped")
	anchorNode    = []byte("node")
)

// nodeAnchor returns the row that names the node.
func (s *Store) nodeAnchor() change {
	return change{table: tableAnchor, key: anchorNode, value: cborEncode(s.ident.ID)}
}

// writeAnchor repeats the catalog. Called by the committer.
func (s *Store) writeAnchor() error {
	start := s.journal.Written() + 1
	changes := s.catalog.Load().puts()
	changes = append(changes, s.sequenceRows()...)
	changes = append(changes, s.cursors.rows()...)
	changes = append(changes, s.droppedChange())
	if s.tables.hasData() {
		changes = append(changes, change{table: tableAnchor, key: anchorData, value: cborEncode(uint64(start))})
	}
	changes = append(changes, s.nodeAnchor(), change{table: tableAnchor, key: []byte{}, value: cborEncode(uint64(start))})
	return s.writeRows(changes, false) // they are what the tables have already
}

// rowsChunk is how many bytes of rows go in one commit.
const rowsChunk = journal.MaxGroup / 4

// chunk is rowsChunk, or what fits into the files of this journal.
func (s *Store) chunk() int { return min(rowsChunk, int(s.journal.GroupLimit()/4)) }

// writeRows commits rows, a part at a time; new ones become part of the tables
// and the catalog. picloud.ErrNoSpace when not all of them could be written.
// Called by the committer.
func (s *Store) writeRows(changes []change, fresh bool) error {
	chunk := s.chunk()
	for len(changes) > 0 {
		n, size := 0, 0
		for n < len(changes) && size < chunk {
			size += recordCost + len(changes[n].key) + len(changes[n].value)
			n++
		}
		g := s.commit.group
		g.begin(s.catalog.Load(), micros(s.cfg.Now()))
		g.hard = true
		s.record(g, changes[:n], 0)
		if fresh {
			g.catalog, g.changed = g.catalog.copy(), true
			for _, c := range changes[:n] {
				if err := g.catalog.set(c); err != nil {
					return err
				}
			}
		} else {
			g.changes = nil
		}
		before := s.journal.Written()
		if err := s.commitGroup(g); err != nil {
			return fmt.Errorf("write rows: %w", err)
		}
		if s.journal.Written() == before {
			return picloud.ErrNoSpace // the group was refused
		}
		changes = changes[n:]
	}
	return nil
}

// anchorEnd returns where the anchor began that ends with a change; 0: none does.
func anchorEnd(body []byte) (began journal.LSN, err error) {
	ch, err := parseChange(body)
	if err != nil || ch.table != tableAnchor || len(ch.key) > 0 {
		return 0, err
	}
	return decodeAs[journal.LSN](ch.value)
}

// recoverAnchor notes that the journal repeats the whole catalog.
func (s *Store) recoverAnchor(r *recovery, ch change) error {
	if bytes.Equal(ch.key, anchorNode) {
		if node, err := decodeAs[string](ch.value); err != nil || r.known || s.identKept {
			return err
		} else if node != "" {
			s.ident.ID, s.identKept = node, true
		}
		return nil
	}
	var start uint64
	if err := cborDecode(ch.value, &start); err != nil {
		return err
	}
	switch {
	case bytes.Equal(ch.key, anchorData):
		r.Data = true
		return nil
	case bytes.Equal(ch.key, anchorDropped):
		s.commit.dropped = max(s.commit.dropped, journal.LSN(start))
		return nil
	}
	r.Based = r.Based || journal.LSN(start) >= r.journal.First
	return nil
}
