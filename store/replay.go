package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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

// replay applies what the journal has beyond the checkpoint.
func (s *Store) replay(r *recovery) error {
	from := max(r.state.LSN+1, r.journal.First)
	if r.journal.Last < from {
		return s.readTail(r)
	}
	rd, err := s.journal.NewReader(from)
	if err != nil {
		return fmt.Errorf("replay journal: %w", err)
	}
	defer func() { _ = rd.Close() }() // only read
	c := s.catalog.Load().copy()
	for {
		rec, err := rd.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if err := s.replayBehind(r, rd, rec.LSN, err); err != nil {
				return fmt.Errorf("replay journal: %w", err)
			}
			continue
		}
		if err := s.replayRecord(r, c, &rec); err != nil {
			return fmt.Errorf("replay journal: record %d: %w", rec.LSN, err)
		}
		r.records++
		s.relieve(r, &rec)
	}
	s.catalog.Store(c)
	return nil
}

// replayBehind goes on behind a record that cannot be read, and notes what is lost. Opening
// the journal has read what is replayed: what it could not is in records of KindLost. So
// the disk has forgotten this one since.
func (s *Store) replayBehind(r *recovery, rd *journal.Reader, at journal.LSN, cause error) error {
	lost, err := rd.Resync()
	if err != nil {
		return errors.Join(cause, err)
	}
	last := at + max(journal.LSN(lost), 1) - 1
	r.Lost = append(r.Lost, fmt.Sprintf("Records %d to %d of the journal could not be read (%v) and are lost, as far as there were such.", at, last, cause))
	r.LostLSN, r.clean = max(r.LostLSN, last), false
	return nil
}

// readTail finds out whether the newest record, which the checkpoint covers,
// says that the node stopped in good order.
func (s *Store) readTail(r *recovery) error {
	if r.journal.Last == 0 {
		r.clean = true // nothing has ever happened
		return nil
	}
	rec, err := s.newest(r.journal.Last)
	if damage, ok := errors.AsType[*journal.DamageError](err); ok { // in a file that its footer vouches for: readers of the history meet it
		s.log.Error("journal is damaged", slog.Any("err", err))
		s.journalDamaged(damage)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	r.clean = rec.Kind == kindStop
	return nil
}

// newest reads the record that is the journal's last.
func (s *Store) newest(last journal.LSN) (journal.Record, error) {
	rd, err := s.journal.NewReader(last)
	if err != nil {
		return journal.Record{}, err
	}
	defer func() { _ = rd.Close() }() // only read
	return rd.Next()
}

func (s *Store) replayRecord(r *recovery, c *catalog, rec *journal.Record) error {
	r.clean = false
	switch rec.Kind {
	case kindEvent:
		app, _, err := splitEventKey(rec.Key)
		if err != nil {
			return err
		}
		s.sequenceOf(app).raise(rec.Seq)
		body, err := parseEventBody(rec.Body)
		if err != nil {
			return err
		}
		if body.stamp == nil {
			s.belief.known.Store(rec.At)
		}
		if body.idem != "" {
			s.commit.idem = s.commit.idem.at(rec.At, body.stamp)
			key := idemChange(s.commit.idem, app, rec.Seq, rec.At, &body)
			s.recount(key, s.tables.get(key.table, key.key))
			s.tables.put([]change{key})
		}
		if c.triggers().Len() > 0 {
			ev, err := parseEvent(s.ident.epoch, rec)
			if err != nil {
				return err
			}
			s.tables.put(enqueue(c, eventHappened(&ev, uint64(rec.LSN), body.hops)))
		}
	case kindChange:
		ch, err := parseChange(rec.Body)
		if err != nil {
			return err
		}
		if !ch.table.known() {
			return fmt.Errorf("table %d is not known: a newer picloud wrote this journal; install that version", ch.table)
		}
		return s.replayChange(r, c, rec, ch)
	case kindStop:
		r.clean = true
	case journal.KindThinned: // on purpose, and told then
	case journal.KindSkipped:
		first, last := rec.Range()
		if first == 1 && r.state.Journal == 0 { // begun in the place of one that was lost: of what apps keep it has what is newer
			r.Unbased, r.Based = true, true
		}
		s.skipSequences(uint64(last - first + 1))
	case journal.KindLost:
		r.LostLSN = max(r.LostLSN, rec.LSN)
	default:
		return fmt.Errorf("kind %d is not known: a newer picloud wrote this journal; install that version", rec.Kind)
	}
	return nil
}

func (s *Store) replayChange(r *recovery, c *catalog, rec *journal.Record, ch change) error {
	k := ch.table.kind()
	if k.recovered != nil {
		if err := k.recovered(s, r, ch); err != nil {
			return err
		}
	}
	if k.journalOnly {
		return nil
	}
	ch = cloneChange(ch)
	get := s.tables.get
	if k.holds != nil || k.expires != nil { // both look at the row that is replaced
		before := get(ch.table, ch.key)
		s.recount(ch, before)
		get = func(tb table, key []byte) []byte {
			if tb == ch.table && bytes.Equal(key, ch.key) {
				return before
			}
			return s.tables.get(tb, key)
		}
	}
	by := &cause{lsn: uint64(rec.LSN), at: rec.At, hops: hopsOf(rec)}
	if by.hops == cameBack {
		by = nil
	}
	derived, err := c.apply(ch, stateBefore{catalog: c, get: get, tables: s.tables}, by)
	if err != nil {
		return err
	}
	s.tables.put(append(derived, ch))
	return nil
}
