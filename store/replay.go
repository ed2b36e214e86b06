package store

import (
	"log/slog"
	"slices"

	"github.com/picloud/picloud/journal"
)

// A start may have much of the journal to replay: all of it when state.db was lost. What
// comes of that is moved to state.db bit by bit, so that a start needs no more memory
// than the node does when it runs. A start that ends early goes on from there, and knows
// what the one before has found out.

// found is what a start finds out that the next one could not any more, once state.db
// has come further.
type found struct {
	Lost    []string    `cbor:",omitempty"` // why this is no longer the history it was; empty: it is
	LostLSN journal.LSN `cbor:",omitempty"` // newest loss the journal tells of
	Unbased bool        `cbor:",omitempty"` // there is no checkpoint below the journal's first record
	Based   bool        `cbor:",omitempty"` // but the journal repeats the catalog as it was
	Data    bool        `cbor:",omitempty"` // and says that there was data beside
	Rescued bool        `cbor:",omitempty"` // of which there is what could be read of a damaged state.db
}

// add takes in what a start before has found out.
func (f *found) add(before *found) {
	f.Lost = append(slices.Clone(before.Lost), f.Lost...)
	f.LostLSN = max(f.LostLSN, before.LostLSN)
	f.Unbased, f.Based, f.Data, f.Rescued = before.Unbased, before.Based, before.Data, before.Rescued
}

// relieve moves what was replayed up to a record to state.db when it has become much. A
// state.db that cannot be written is left behind: the journal has everything.
func (s *Store) relieve(r *recovery, rec *journal.Record) {
	if rec.More || s.readOnly || r.unwritable || s.tables.memory() < checkpointMemory {
		return
	}
	rows, meta := s.freeze()
	_, meta.LSN = rec.Range()
	meta.Found = &r.found
	err := s.writeCheckpoint(rows, meta)
	s.tables.thaw(err == nil)
	if err != nil {
		r.unwritable = true
		s.log.Warn("checkpoint failed: the start needs more memory", slog.Any("err", err))
		return
	}
	r.state.LSN = meta.LSN
}
