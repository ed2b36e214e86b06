package store

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidwall/btree"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/journal"
)

// checkpointMemory is how much may have changed before it goes to state.db.
const checkpointMemory = 4 << 20

// untilDue is how long the committer may sleep: until records of telemetry
// topics must be fsynced, or a checkpoint is due.
func (s *Store) untilDue() time.Duration {
	d := time.Hour // the clock moves retention on, too
	if !s.commit.softSince.IsZero() {
		d = min(d, s.cfg.SyncWithin-time.Since(s.commit.softSince))
	}
	if !s.commit.dirtySince.IsZero() && s.commit.checkpointing == nil {
		d = min(d, max(s.checkpointAfter()-time.Since(s.commit.dirtySince), time.Until(s.commit.retryAt)))
	}
	d = min(d, s.untilExpiry(), s.untilRuns())
	if s.commit.building || s.commit.stepping {
		return time.Millisecond
	}
	if retry := time.Until(s.commit.stepRetry); retry > 0 {
		d = min(d, retry)
	}
	if s.watchesClock() {
		d = min(d, clockEvery-time.Since(s.commit.clock.checked))
	}
	return max(d, time.Millisecond)
}

// chores does between groups what is due.
func (s *Store) chores() error {
	if !s.commit.softSince.IsZero() && time.Since(s.commit.softSince) >= s.cfg.SyncWithin {
		if err := s.sync(); err != nil {
			return err
		}
	}
	if err := s.watchClock(); err != nil {
		return err
	}
	if err := s.expire(); err != nil {
		return err
	}
	if err := s.writeRuns(); err != nil {
		return err
	}
	if err := s.writeIncidents(); err != nil {
		return err
	}
	var err error
	if s.commit.building {
		if s.commit.building, err = s.buildIndexes(); err != nil {
			return err
		}
	}
	if s.commit.stepping, err = s.readOn(); err != nil {
		return err
	}
	if s.checkpointDue() {
		return s.beginCheckpoint()
	}
	return nil
}

func (s *Store) checkpointDue() bool {
	c := &s.commit
	if c.checkpointing != nil || c.dirtySince.IsZero() || time.Now().Before(c.retryAt) {
		return false
	}
	return c.writtenBytes >= s.cfg.CheckpointBytes*s.sparing() || int64(s.tables.memory()) >= checkpointMemory*s.sparing() ||
		time.Since(c.dirtySince) >= s.checkpointAfter()
}

// sparing is by how much checkpoints are rarer at present.
func (s *Store) sparing() int64 {
	if s.cfg.Busy != nil && s.cfg.Busy() {
		return 2
	}
	return 1
}

// checkpointWhenFull is how long changes wait for a checkpoint when there is no space:
// what was deleted gives some back only then.
const checkpointWhenFull = 10 * time.Second

// checkpointAfter is how long changes may wait for a checkpoint.
func (s *Store) checkpointAfter() time.Duration {
	if s.space.full.Load() || s.space.state.Load() {
		return min(s.cfg.CheckpointAfter, checkpointWhenFull)
	}
	return s.cfg.CheckpointAfter * time.Duration(s.sparing())
}

// beginCheckpoint freezes what there is and writes it to state.db while the
// committer goes on.
func (s *Store) beginCheckpoint() error {
	if err := s.sync(); err != nil {
		return err
	}
	rows, meta := s.freeze()
	done := make(chan error, 1)
	s.commit.checkpointing = done
	s.commit.reaching = meta.LSN
	s.commit.dirtySince, s.commit.writtenBytes = time.Time{}, 0
	go func() { done <- s.writeCheckpoint(rows, meta) }()
	return nil
}

// freeze collects what a checkpoint holds: every row, and how far each app's
// sequence has come.
func (s *Store) freeze() (*btree.Map[string, []byte], checkpointMeta) {
	s.tables.put(append(s.sequenceRows(), s.droppedChange()))
	meta := checkpointMeta{Node: s.ident.ID, Journal: s.journalID, LSN: s.journal.Synced(), Idem: s.commit.idem, Known: s.belief.last(s.cfg.Now)}
	return s.tables.freeze(), meta
}

func (s *Store) writeCheckpoint(rows *btree.Map[string, []byte], meta checkpointMeta) error {
	s.maintainMu.Lock()
	defer s.maintainMu.Unlock()
	n, err := s.tables.db.write(rows, meta)
	if err != nil {
		return fmt.Errorf("write state.db: %w", err)
	}
	s.shrinkState()
	s.metrics.checkpoints.Inc()
	s.metrics.cpBytes.AddInt64(n)
	s.wear.add(s.cfg.Now(), n)
	return nil
}

// retryCheckpoint is how long to wait after a checkpoint has failed. Nothing is
// lost meanwhile: the journal has everything.
const retryCheckpoint = 30 * time.Second

// checkpointDone takes note of a checkpoint. An error is final.
func (s *Store) checkpointDone(err error) error {
	s.commit.checkpointing = nil
	s.tables.thaw(err == nil)
	if errors.Is(err, unix.EIO) { // state.db may be other on the disk than in memory: only a new start finds out
		return err
	}
	if err != nil {
		s.metrics.cpFailed.Inc()
		s.log.Warn("checkpoint failed, trying again later", slog.Any("err", err))
		s.commit.dirtySince, s.commit.retryAt = time.Now(), time.Now().Add(retryCheckpoint)
		return nil
	}
	s.commit.reached = s.commit.reaching
	s.lookAtState()
	if s.space.backlog.Load() {
		return s.makeRoom()
	}
	return s.dropOld()
}

// finish leaves the directory so that the next start has nothing to replay.
func (s *Store) finish() error {
	if s.readOnly || s.failed.Load() {
		return nil // the disk must stay as it is
	}
	for s.runs.waiting() {
		if err := s.writeSomeRuns(); err != nil {
			return err
		}
	}
	g := s.commit.group
	g.begin(s.catalog.Load(), micros(s.cfg.Now()))
	g.hard = true
	s.keyUse.stageAll(s, g)
	s.cursors.stageAll(s, g)
	if err := s.commitGroup(g); err != nil {
		return err
	}
	last := s.journal.Written()
	if s.commit.stopLSN != last {
		if _, err := s.journal.Append([]journal.Record{{Kind: kindStop, At: micros(s.cfg.Now())}}); err != nil {
			return fmt.Errorf("note the stop: %w", err)
		}
	}
	if err := s.journal.Sync(); err != nil {
		return fmt.Errorf("note the stop: %w", err)
	}
	if s.commit.stopLSN == last && s.commit.reached >= last {
		return nil // nothing has happened
	}
	return s.checkpointNow()
}

// checkpointNow writes a checkpoint while nothing else goes on.
func (s *Store) checkpointNow() error {
	rows, meta := s.freeze()
	err := s.writeCheckpoint(rows, meta)
	s.tables.thaw(err == nil)
	if err == nil {
		s.commit.reached = meta.LSN
	}
	return err
}
