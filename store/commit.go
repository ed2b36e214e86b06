package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// committer is what the one goroutine that writes needs. Only the fields of
// atomic types are read by others.
type committer struct {
	group      *group
	sequences  map[string]*sequence
	skipped    uint64       // what the sequence of a new name begins behind
	dropped    journal.LSN  // what the journal is dropped below; 0: unknown
	carry      *command     // did not fit into the last group
	linger     linger       // for company
	softSince  time.Time    // when the oldest record that is not fsynced was written; zero: all are
	dirtySince time.Time    // when the oldest change that state.db lacks was made; zero: it has all
	lastCommit atomic.Int64 // microseconds
	events     []picloud.Event

	toldDropped     int64 // when the log said that dead letters are dropped, microseconds
	names           topicNames
	triggersChanged bool // with the group at hand

	steppedFor string    // the trigger that is behind for which a step was taken last, a key of tableBehind
	stepping   bool      // there may be another step to take
	stepRetry  time.Time // after the journal could not be read or written

	checkpointing chan error  // nil: none under way
	retryAt       time.Time   // of a checkpoint that failed
	reaching      journal.LSN // by the checkpoint under way
	reached       journal.LSN // by state.db
	nextExpiry    int64       // when to look for entries that have come to their end, microseconds
	writtenBytes  int64       // to the journal since the last checkpoint began
	clock         clockWatch
	idem          idemPeriod           // of the newest event with a key
	thinned       map[journal.LSN]bool // segments that telemetry was taken out of
	building      bool                 // there may be an index to build or to take down
	stopLSN       journal.LSN          // of the record that says the node stopped in good order; 0: none
}

// Run is the committer. It returns nil after ctx has ended and everything that
// was accepted has been answered. Any error is final: what is on the disk is
// uncertain, and only a new start can find out.
func (s *Store) Run(ctx context.Context) error {
	defer s.end()
	if s.readOnly {
		<-ctx.Done()
		return nil
	}
	prepare := make(chan error, 1)
	bg, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() { prepare <- s.journal.Run(bg) }()
	err := s.run(ctx)
	s.stopping.Store(true)
	cancel()
	if perr := <-prepare; err == nil && perr != nil && !errors.Is(perr, context.Canceled) {
		err = perr
	}
	if cp := s.commit.checkpointing; cp != nil {
		if cerr := s.checkpointDone(<-cp); err == nil {
			err = cerr
		}
	}
	return err
}

func (s *Store) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(s.untilDue())
		select {
		case <-s.intake.come:
			if c := s.nextCommand(); c != nil {
				if err := s.serve(c); err != nil {
					return err
				}
			}
		case <-s.beat:
			continue
		case <-timer.C:
		case <-s.nudge:
			if err := s.makeRoom(); err != nil {
				return err
			}
		case err := <-s.commit.checkpointing:
			if err := s.checkpointDone(err); err != nil {
				return err
			}
		case <-ctx.Done():
			s.stopping.Store(true)
			return s.drain()
		}
		if err := s.chores(); err != nil {
			return err
		}
	}
}

// drain answers what was accepted before the end began.
func (s *Store) drain() error {
	for c := s.nextCommand(); c != nil; c = s.nextCommand() {
		if err := s.serve(c); err != nil {
			return err
		}
	}
	if err := s.writeIncidents(); err != nil {
		return err
	}
	return s.sync()
}

// nextCommand returns the command that begins a group; nil: none waits.
func (s *Store) nextCommand() *command {
	if c := s.commit.carry; c != nil {
		s.commit.carry = nil
		return c
	}
	return s.intake.take()
}

// serve takes c and whatever waits behind it, as far as one group has room, through a
// commit.
func (s *Store) serve(c *command) error {
	g := s.commit.group
	s.beginGroup(g)
	s.look()
	if err := s.holdBack(g); err != nil {
		return err
	}
	s.gather(g, c)
	if err := s.stageClock(g); err != nil {
		return err
	}
	s.keyUse.stage(s, g)
	s.cursors.stage(s, g)
	return s.commitGroup(g)
}

// fewRecords is what a group may have of records however long they take.
const fewRecords = 256

// gather prepares c and the commands behind it until the intake is empty and lingering
// is over, or the group is full: of bytes, or because preparing it has taken as long as a
// commit does. A command that comes meanwhile waits for all of it.
func (s *Store) gather(g *group, c *command) {
	limit := int(s.journal.GroupLimit()) / 8 * 7 // leaves room for changes, whose size is known only then
	l := &s.commit.linger
	l.begin()
	began := time.Now()
	for c != nil {
		if g.size > 0 && g.size+int(c.size) > limit { // #nosec G115 -- bounded at the door
			s.commit.carry = c
			s.intake.tell()
			break
		}
		s.prepare(g, c)
		l.taken++
		if len(g.records) > fewRecords && time.Since(began) > max(l.commit, shortCommit) {
			s.intake.tell()
			break
		}
		if c = s.intake.take(); c == nil && g.hard {
			c = l.next(s.intake)
		}
	}
	l.end()
}

// prepare decides about one command against what is committed and what the
// group has staged. A refusal is answered at once.
func (s *Store) prepare(g *group, c *command) {
	hard := !c.soft
	var err error
	switch {
	case c.fn != nil && c.size == 0: // may be what makes room
		err = s.stageCommand(g, c)
	case s.space.full.Load():
		s.metrics.noSpace.Inc()
		err = picloud.ErrNoSpace
	case s.space.backlog.Load():
		s.metrics.noSpace.Inc()
		err = picloud.ErrBacklogFull
	case c.fn != nil:
		if err = picloud.ErrStateFull; !s.space.state.Load() {
			err = s.stageCommand(g, c)
		}
	default:
		hard, err = s.stagePublication(g, c)
	}
	if err != nil {
		s.answer(c, err)
		return
	}
	if c.fn == nil { // what a function stages has counted itself
		g.size += int(c.size) // #nosec G115 -- bounded at the door
	}
	g.hard = g.hard || hard
	g.commands = append(g.commands, c)
}

// commitGroup writes the group, makes it durable, and then lets everybody know.
func (s *Store) commitGroup(g *group) error {
	began := time.Now()
	if len(g.records) > 0 {
		_, err := s.journal.Append(g.records)
		switch {
		case errors.Is(err, journal.ErrNoSpace):
			s.space.full.Store(true)
			s.refuse(g, picloud.ErrNoSpace)
			return nil
		case errors.Is(err, journal.ErrTooLarge):
			s.refuse(g, picloud.ErrDataTooLarge)
			return nil
		case err != nil:
			return s.fail(g, fmt.Errorf("append to the journal: %w", err))
		}
		s.commit.writtenBytes += int64(g.encoded())
		if s.commit.softSince.IsZero() {
			s.commit.softSince = began
		}
		if s.commit.dirtySince.IsZero() {
			s.commit.dirtySince = began
		}
	}
	if g.hard {
		if err := s.sync(); err != nil {
			return s.fail(g, err)
		}
	}
	if len(g.records) > 0 {
		took := time.Since(began)
		if g.hard {
			s.commit.linger.committed(took)
		}
		s.commit.lastCommit.Store(g.at)
		s.wrote(int64(g.encoded()), took)
	}
	waiting, _ := s.intake.waiting()
	s.commit.linger.expect(len(g.commands), waiting)
	s.publishGroup(g)
	return nil
}

// sync makes everything that was written durable.
func (s *Store) sync() error {
	if s.commit.softSince.IsZero() {
		return nil
	}
	if err := s.journal.Sync(); err != nil {
		s.failed.Store(true)
		return fmt.Errorf("sync the journal: %w", err)
	}
	s.commit.softSince = time.Time{}
	return nil
}

// publishGroup makes what was staged visible, tells the broadcaster in order,
// and answers the callers.
func (s *Store) publishGroup(g *group) {
	s.tables.put(g.changes)
	if g.changed {
		s.catalog.Store(g.catalog)
		s.commit.building = true // maybe
	}
	if g.idem.Number != 0 {
		s.commit.idem = g.idem
		s.idemPeriod.Store(g.idem.Number)
	}
	for _, q := range g.touched {
		q.visible.Store(q.last)
	}
	s.named(g)
	for i, a := range g.accounts {
		if i == 0 || a != g.accounts[i-1] {
			a.publish()
		}
	}
	s.announce(g.notices)
	s.tellCommitted(g)
	for _, c := range g.commands {
		s.answer(c, nil)
	}
}

// tellCommitted lets the kinds of rows know what has become visible.
func (s *Store) tellCommitted(g *group) {
	for _, ch := range g.changes {
		if k := ch.table.kind(); k.committed != nil {
			k.committed(s, ch)
		}
	}
	if s.commit.triggersChanged && s.cfg.Deliverer != nil {
		s.cfg.Deliverer.TriggersChanged()
	}
	s.commit.triggersChanged = false
}

// announce hands runs of events and revocations to the broadcaster.
func (s *Store) announce(notices []notice) {
	b := s.cfg.Broadcaster
	events := s.commit.events[:0]
	flush := func() {
		if len(events) > 0 {
			s.metrics.events.Add(len(events))
			if b != nil {
				b.Broadcast(events)
			}
			clear(events)
			events = events[:0]
		}
	}
	for _, n := range notices {
		events = append(events, n.events...)
		if n.revocation != nil {
			flush()
			if b != nil {
				b.Revoke(*n.revocation)
			}
		}
	}
	flush()
	s.commit.events = events
}

// refuse answers the whole group with err. Nothing of it was written.
func (s *Store) refuse(g *group, err error) {
	for _, q := range g.touched {
		q.last = q.visible.Load()
	}
	for _, a := range g.accounts {
		a.staged = a.read()
	}
	for _, c := range g.commands {
		c.events = nil
		s.answer(c, err)
	}
}

// fail answers the group after a failure that leaves it open whether it was
// written, and returns the cause. The callers get the cause as well: none of
// the public errors would be true, since they say that nothing was stored.
func (s *Store) fail(g *group, cause error) error {
	s.stopping.Store(true)
	s.failed.Store(true)
	s.refuse(g, cause)
	return cause
}
