package store

import "sync/atomic"

const tableSequence table = 6 // app name: the sequence of its newest event; empty: what sequences of other names begin behind

// The newest sequences are in memory. A checkpoint has them as rows; the journal
// repeats them when it loses its beginning.
var sequenceKind = rowKind{
	name: "sequences", journalOnly: true,
	recovered: func(s *Store, _ *recovery, ch change) error { return s.raiseSequence(ch) },
}

// sequence counts the events of one app name. It outlives the app, so that a
// position is never used twice.
type sequence struct {
	last    uint64        // staged by the committer, and seen by it alone
	visible atomic.Uint64 // committed

	account account // of what the app that has the name now keeps
}

// sequenceOf returns the counter of an app name, which is made when missing.
func (s *Store) sequenceOf(app string) *sequence {
	q := s.commit.sequences[app]
	if q == nil {
		q = new(sequence)
		q.raise(s.commit.skipped)
		s.commit.sequences[app] = q
	}
	return q
}

// raise moves a sequence ahead, and what is seen of it.
func (q *sequence) raise(to uint64) {
	q.last = max(q.last, to)
	q.visible.Store(q.last)
}

// sequenceRows returns the rows that say where all sequences are.
func (s *Store) sequenceRows() []change {
	changes := make([]change, 0, len(s.commit.sequences)+1)
	if s.commit.skipped > 0 {
		changes = append(changes, sequenceChange("", s.commit.skipped))
	}
	for app, q := range s.commit.sequences {
		changes = append(changes, sequenceChange(app, q.visible.Load()))
	}
	return changes
}

func sequenceChange(app string, last uint64) change {
	return change{table: tableSequence, key: []byte(app), value: cborEncode(last)}
}

// raiseSequence takes over what a row says about the sequence of an app.
func (s *Store) raiseSequence(ch change) error {
	var last uint64
	if err := cborDecode(ch.value, &last); err != nil {
		return err
	}
	if len(ch.key) > 0 {
		s.sequenceOf(string(ch.key)).raise(last)
		return nil
	}
	s.commit.skipped = max(s.commit.skipped, last)
	for _, q := range s.commit.sequences {
		q.raise(s.commit.skipped)
	}
	return nil
}
