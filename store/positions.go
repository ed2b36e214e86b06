package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/picloud/picloud/journal"
)

// A position, which is an LSN or a sequence within an epoch, is given once. What the
// tail of the journal says is not enough for that: acknowledged records can be lost there
// without a trace. So a start goes on behind every LSN that can have been given, which
// the journal knows for sure, and moves the sequences of all apps as far: each event has
// an LSN of its own. Where the journal does not know it, another epoch begins.

// passOver moves LSNs and sequences behind all that can have been given. In a copy, which
// begins another epoch, none has been.
func (s *Store) passOver(r *recovery, copied bool) error {
	last := max(r.journal.Last, r.reach)
	switch r.journal.End {
	case journal.EndProven:
		if r.journal.Fresh { // where another one was
			last = max(last, r.journal.Reserved)
		}
	case journal.EndOpen:
		last = max(last, r.journal.Reserved)
	case journal.EndUnknown:
		last += journal.ReserveAhead
	case journal.EndUnnoted:
		if !r.clean && !copied {
			last += journal.ReserveAhead
		}
	}
	if last > r.journal.Last {
		s.passed.first, s.passed.last = uint64(r.journal.Last)+1, uint64(last)
		s.log.Info("positions that may have been given are passed over", slog.Uint64("first_lsn", uint64(r.journal.Last)+1), slog.Uint64("last_lsn", uint64(last)))
	}
	if err := s.journal.Skip(last); err != nil {
		return err
	}
	s.skipSequences(uint64(last - r.journal.Last))
	return nil
}

// skipSequences moves the sequences of all apps, those that are yet to come included:
// an app may be among what is lost.
func (s *Store) skipSequences(n uint64) {
	s.commit.skipped += n
	for _, q := range s.commit.sequences {
		q.raise(q.last + n)
	}
}

// droppedChange says what the journal has been dropped below, so that oldest files that
// are missing can be told from ones that were dropped.
func (s *Store) droppedChange() change {
	return change{table: tableAnchor, key: anchorDropped, value: cborEncode(uint64(s.commit.dropped))}
}

// checkOldest tells of oldest files of the journal that are missing.
func (s *Store) checkOldest(r *recovery) {
	if d := s.commit.dropped; d > 0 && r.journal.Oldest > d {
		r.Lost = append(r.Lost, fmt.Sprintf("The oldest files of the journal are missing: records %d to %d are lost.", d, r.journal.Oldest-1))
	}
	s.commit.dropped = max(s.commit.dropped, r.journal.Oldest)
}

// lostJournal says that there is an identity and no journal: what had been before is
// lost, and nothing is known of it.
const lostJournal = "The journal is gone: apps, topics and keys are those of the last checkpoint, the history of events is lost."

// clearJournalDir sets aside what is in the place of the journal's directory and is
// none.
func (s *Store) clearJournalDir() error {
	info, err := os.Stat(s.path(journalDir))
	if err != nil || info.IsDir() || s.readOnly { // opening it meets an error again
		return nil //nolint:nilerr // as above
	}
	to, err := setAside(s.cfg.Dir, journalDir, s.cfg.Now())
	if err != nil {
		return fmt.Errorf("set %s aside: %w", journalDir, err)
	}
	s.log.Error("file set aside", slog.String("file", journalDir), slog.String("to", to), slog.Any("err", errors.New("it is not a directory")))
	return nil
}

// damageText says what was found damaged in the journal.
func damageText(d *journal.Damage) string {
	text := fmt.Sprintf("The journal is damaged in %s: %s.", d.File, d.Reason)
	if d.Last > 0 {
		text += fmt.Sprintf(" Records %d to %d are lost, as far as there were such.", d.First, d.Last)
	}
	if d.SetAside != "" {
		text += fmt.Sprintf(" The file is kept as %s.", d.SetAside)
	}
	return text
}
