package store

import (
	"context"
	"slices"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud/journal"
)

const tableNote table = 10 // name: what a part of the node wants to find again after a restart

var noteKind = rowKind{name: "notes", catalog: inMemory[[]byte], node: true}

func (c *catalog) notes() *btree.Map[string, []byte] { return rowsOf[[]byte](c, tableNote) }

// Note returns what a part of the node noted under a name; nil: nothing.
func (s *Store) Note(name string) []byte {
	b, _ := s.catalog.Load().notes().Get(name)
	return slices.Clone(b)
}

// SetNote keeps a few bytes under a name; nil removes them. It returns when
// they are durable.
func (s *Store) SetNote(ctx context.Context, name string, value []byte) error {
	return s.do(ctx, "", func(tx *tx) error {
		if value == nil {
			tx.remove(tableNote, name)
			return nil
		}
		tx.put(tableNote, name, value)
		return nil
	})
}

// SharedUpTo returns the newest record up to lsn that the journal has in common with
// what it was under an epoch: all of them for the present one, unless the card has lost
// them, and none for an epoch that it does not know.
func (s *Store) SharedUpTo(epoch string, lsn uint64) uint64 {
	if shared := s.ident.sharedUpTo(epoch); shared < lsn {
		return shared
	}
	return uint64(s.journal.SharedUpTo(journal.LSN(lsn)))
}
