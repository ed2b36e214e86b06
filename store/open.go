package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// Open takes a data directory, recovers what is in it, and returns a Store that
// reads at once and writes as soon as Run is called.
//
// Damage does not stop it: what cannot be used is set aside under a dated name,
// noted in Health, and the rest is served. Errors remain for directories that
// cannot be used at all (LockedError when another process has it) and for files
// that a newer version wrote (NewerError), in which case nothing is changed.
func Open(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	s := &Store{
		cfg:    cfg,
		log:    cfg.Logger.With(slog.String("component", "store")),
		intake: newIntake(cfg.Intake, cfg.IntakeBytes),
		nudge:  make(chan struct{}, 1),
		ended:  make(chan struct{}),
		space:  space{dir: cfg.Dir, reserve: cfg.ReserveBytes},
		blobs:  blobs{dir: filepath.Join(cfg.Dir, blobsDir), pending: map[string]bool{}},
	}
	s.commit.group = new(group)
	s.commit.sequences = map[string]*sequence{}
	s.commit.thinned = map[journal.LSN]bool{}
	s.cursors.owners = map[string]*cursor{}
	for _, name := range cfg.Readers {
		s.cursors.owner(name).pins = true
	}
	s.register(cfg.Metrics)
	if err := s.open(); err != nil {
		if s.tables != nil {
			_ = s.tables.close() // the first error is the one to tell
		}
		if s.journal != nil {
			_ = s.journal.Close()
		}
		if s.lock != nil {
			if s.lockMade && isNewer(err) { // nothing is to be left
				_ = os.Remove(s.path("lock"))
			}
			_ = s.lock.Close()
		}
		return nil, err
	}
	return s, nil
}

// recovery is what opening finds out on its way.
type recovery struct {
	found

	began   time.Time
	state   checkpointMeta
	journal journal.Recovery
	clean   bool // the last thing noted is that the node stopped in good order
	records int

	before     checkpointMeta // of a state.db that was damaged, if it could be read
	unrepeated bool           // the journal is new and has nothing of the checkpoint's catalog
	unwritable bool           // state.db takes no checkpoint

	known bool        // node.json, or its copy, is good
	reach journal.LSN // LSNs up to this one were given, as the checkpoint says
}

func (s *Store) open() error {
	r := recovery{began: time.Now()}
	s.belief.sure.Store(s.cfg.Clock == nil)
	if err := s.checkPlaces(); err != nil {
		return err
	}
	if err := s.takeDir(); err != nil {
		return err
	}
	if err := settleRestore(s.cfg.Dir); err != nil {
		return err
	}
	if err := checkFormats(&s.cfg); err != nil { // before anything is changed
		return err
	}
	if err := s.clearDamaged(); err != nil {
		return err
	}
	var err error
	if r.known, err = s.openIdentity(); err != nil {
		return err
	}
	if err := s.openState(&r); err != nil {
		return err
	}
	if err := s.openJournal(&r); err != nil {
		return err
	}
	if err := s.match(&r); err != nil {
		return err
	}
	if err := s.load(&r); err != nil {
		return err
	}
	s.openIdem(&r.state)
	s.belief.known.Store(r.state.Known)
	if err := s.replay(&r); err != nil {
		return err
	}
	s.publishAccounts()
	s.idemPeriod.Store(s.commit.idem.Number)
	if err := s.conclude(&r); err != nil {
		return err
	}
	s.checkSecrets()
	s.openShared()
	s.openClock()
	if !s.readOnly {
		if err := s.blobs.prepare(); err != nil { // who writes a file tries again
			s.log.Warn("the directory of files cannot be made", slog.Any("err", err))
		}
	}
	if s.tables.db != nil {
		s.lookAtState()
	}
	s.log.Info("store opened", slog.Int("records", r.records), slog.Duration("took", time.Since(r.began)), slog.Bool("clean", r.clean), slog.Uint64("lsn", uint64(r.journal.Last)))
	return nil
}

// isUnread reports whether an error says nothing of what is in a file: it was not
// read. Such a file is never taken for a damaged one.
func isUnread(err error) bool {
	for _, cause := range []error{fs.ErrPermission, bolterrors.ErrTimeout, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EAGAIN, unix.EINTR, unix.ENOSPC, unix.EDQUOT} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// unread is the error that a file was not read, and what to do.
func unread(file string, cause error) error {
	hint := "start again when that has passed"
	switch {
	case errors.Is(cause, bolterrors.ErrTimeout):
		hint = "another program holds it: end that, and start again"
	case errors.Is(cause, fs.ErrPermission):
		hint = "give it to the user that runs picloud"
	case isFull(cause):
		return fmt.Errorf("%s cannot be made (%w): the disk is full; nothing was changed; free space on it, and start again", file, cause)
	case errors.Is(cause, unix.EMFILE):
		hint = "allow more open files: 'ulimit -n', or LimitNOFILE= in the unit"
	case errors.Is(cause, fs.ErrNotExist):
		hint = "mount or make what it links to, or remove the link"
	case errors.Is(cause, unix.EIO):
		hint = "look into 'dmesg': the disk fails; if it stays so, move the file away and start again"
	}
	return fmt.Errorf("%s cannot be read (%w); nothing was changed; %s", file, cause, hint)
}

// openState opens state.db, or another one in its place when it is damaged or another
// node's.
func (s *Store) openState(r *recovery) error {
	if !s.readOnly {
		_ = os.Remove(s.path(stateTemp)) // of a start that was cut off
	}
	st, meta, err := openState(s.path(stateFile), s.readOnly)
	if s.readOnly && err != nil {
		s.health.note(fmt.Sprintf("state.db could not be read (%v).", err))
		s.tables = s.newTables(nil)
		return nil
	}
	if isNewer(err) {
		return err
	}
	if isUnread(err) {
		return unread(stateFile, err)
	}
	damaged := err != nil
	switch {
	case damaged:
	case meta.Node != "" && r.known && meta.Node != s.ident.ID:
		err = fmt.Errorf("it belongs to node %s", meta.Node)
	case len(st.bad) > 0 && !s.readOnly && s.journalIsWhole():
		err = fmt.Errorf("%d of its rows are damaged", len(st.bad))
	}
	if err != nil {
		if st != nil {
			_ = st.Close() // nothing was written
		}
		if st, meta, err = s.replaceState(r, err, damaged); err != nil {
			return err
		}
	}
	if st.seal.none && !s.readOnly {
		if st, meta, err = s.upgradeState(st, meta); st == nil {
			return err
		}
		if err != nil {
			s.log.Warn("rows of state.db have no checksums yet: the next start tries again", slog.Any("err", err))
		}
	}
	if meta.Node != "" && !r.known {
		s.ident.ID, s.identKept = meta.Node, true // node.json was lost; this is who we were
	}
	s.tables, r.state = s.newTables(st), meta
	return nil
}

// newTables returns the tables over a state.db; nil: there is none.
func (s *Store) newTables(st *stateDB) *tables {
	t := newTables(st, s.cfg.MaxWaiting)
	t.damaged = s.rowDamaged
	return t
}

func (s *Store) openJournal(r *recovery) error {
	if err := s.clearJournalDir(); err != nil {
		return err
	}
	jc := s.cfg.journal(r.state.LSN + 1)
	jc.Copy = s.ident.forking()
	j, rec, err := journal.Open(jc)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	s.journal, s.journalID, r.journal = j, rec.ID, rec
	for _, d := range rec.Damage {
		r.Lost = append(r.Lost, damageText(&d))
		r.LostLSN = max(r.LostLSN, d.Last)
	}
	return nil
}

// match holds checkpoint and journal against each other.
func (s *Store) match(r *recovery) error {
	st, j := &r.state, &r.journal
	if st.Found != nil && (st.Journal == j.ID || st.Journal == 0) {
		r.add(st.Found)
	}
	if st.Journal == j.ID || j.Fresh {
		r.reach = st.LSN
	}
	switch {
	case j.Fresh && (st.Journal != 0 || r.known && !s.cfg.making):
		r.Lost = append(r.Lost, lostJournal)
		st.LSN, r.unrepeated = 0, st.Journal != 0
	case st.Journal == 0: // no checkpoint yet, or it was lost: the journal has to have everything
		r.Unbased = j.First > 1
		if r.before.Journal == j.ID && r.before.LSN > j.Last {
			r.Lost = append(r.Lost, fmt.Sprintf("state.db was damaged, and the journal ends at record %d, before the checkpoint at %d: what was between is lost.", j.Last, r.before.LSN))
		}
		return nil
	case st.Journal != j.ID && !j.Fresh && s.readOnly:
		return errors.New("state.db belongs to another journal, and the disk cannot be written to mend that")
	case st.Journal != j.ID && !j.Fresh:
		if err := s.tables.close(); err != nil {
			return err
		}
		if err := s.aside(stateFile, errors.New("it belongs to another journal")); err != nil {
			return err
		}
		st, meta, err := openState(s.path(stateFile), false)
		if err != nil {
			return err
		}
		s.tables, r.state = s.newTables(st), meta
		if err := s.journal.Close(); err != nil { // it has not read all that will be replayed
			return err
		}
		if err := s.openJournal(r); err != nil {
			return err
		}
		return s.match(r)
	case j.Last < st.LSN:
		r.Lost = append(r.Lost, fmt.Sprintf("The journal ends at record %d, before the checkpoint at %d: what was between is lost from the history.", j.Last, st.LSN))
		st.LSN = j.Last
	case j.First > st.LSN+1:
		r.Lost = append(r.Lost, fmt.Sprintf("The journal begins at record %d, after the checkpoint at %d: what was between is lost.", j.First, st.LSN))
		st.LSN = j.First - 1
	}
	return nil
}

// load brings the catalog of the checkpoint, and what else is held in memory,
// there.
func (s *Store) load(r *recovery) error {
	c := newCatalog(s.sequenceOf)
	if s.tables.db == nil {
		s.catalog.Store(c)
		return nil
	}
	wanted := func(t table) bool {
		k := t.kind()
		return k.catalog != nil || k.recovered != nil || k.holds != nil || s.tables.pending.counts(t)
	}
	s.dropBad(r)
	err := s.tables.db.scan(wanted, func(t table, key, value []byte) error {
		if s.tables.pending.counts(t) {
			s.tables.pending.add(t, string(key), 1)
			return nil
		}
		ch := change{table: t, key: key, value: value}
		if s.recount(ch, nil) != nil && !t.inCatalog() && t.kind().recovered == nil {
			return nil
		}
		take := func() error { return c.set(ch) }
		if fn := t.kind().recovered; fn != nil {
			take = func() error { return fn(s, r, ch) }
		}
		if err := take(); err != nil { // the others are good: one row must not stop the start
			r.Lost = append(r.Lost, fmt.Sprintf("%s in state.db cannot be read (%v) and is lost.", nameRow(t, key), err))
			s.tables.put([]change{{table: t, key: bytes.Clone(key)}})
		}
		return nil
	}, func([]byte) {}) // dropBad has told of them
	if err != nil {
		return fmt.Errorf("load state.db: %w", err)
	}
	s.catalog.Store(c)
	return nil
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
	if damage, ok := errors.AsType[*journal.DamageError](err); ok { // in a file that its footer vouches for: whoever reads the history meets it
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
	derived, err := c.apply(ch, stateBefore{catalog: c, get: get, tables: s.tables}, &cause{lsn: uint64(rec.LSN), at: rec.At, hops: hopsOf(rec)})
	if err != nil {
		return err
	}
	s.tables.put(append(derived, ch))
	return nil
}

// conclude draws the conclusions and makes them durable before anything is
// served.
func (s *Store) conclude(r *recovery) error {
	s.checkOldest(r)
	if r.Unbased && !r.Based {
		r.Lost = append(r.Lost, fmt.Sprintf("state.db was lost and the journal begins at record %d: apps, topics and keys made before are lost.", r.journal.First))
	}
	if r.Unbased && r.Based && r.Data && !r.Rescued {
		r.Lost = append(r.Lost, fmt.Sprintf("state.db was lost and the journal begins at record %d: what apps kept before (keys, scripts, deliveries) is lost.", r.journal.First))
	}
	if r.LostLSN > journal.LSN(s.ident.LostLSN) && len(r.Lost) == 0 {
		r.Lost = append(r.Lost, "The journal tells of lost records.")
	}
	for _, text := range r.Lost {
		s.log.Error("data was lost", slog.String("what", text))
		s.lostRows(text + " Restore a backup if you need it.")
	}
	if !r.known {
		s.tellNewIdentity(r)
	}
	if len(r.Lost) > 0 {
		s.ident.renewEpoch()
		s.ident.KeepFiles = true
	}
	if s.readOnly {
		return nil
	}
	copied := s.ident.forking() && len(r.Lost) == 0
	forked := s.ident.closeForks(r.journal.Last, s.Cursor(picloud.Central).LSN)
	if forked {
		s.cursors.limit(uint64(r.journal.Last))
	}
	if len(s.ident.RecoveryKey) == 0 { // a node made before there were any
		s.ident.newRecoveryKey()
		forked = true
	}
	if forked || !r.known || s.ident.Format < formatVersion {
		if err := s.ident.write(s.cfg.Dir); err != nil {
			return err
		}
	}
	if r.clean {
		s.commit.stopLSN = r.journal.Last
	}
	if err := s.passOver(r, copied); err != nil {
		return fmt.Errorf("prepare to serve: %w", err)
	}
	s.commit.reached = r.state.LSN
	s.commit.building, s.commit.stepping = true, true // maybe
	if err := s.openCommit(); err != nil {
		return err
	}
	if r.unrepeated { // else a lost state.db would take the catalog with it
		if err := s.writeAnchor(); err != nil {
			return err
		}
	}
	if len(r.Lost) > 0 {
		s.ident.LostLSN = max(s.ident.LostLSN, uint64(r.LostLSN))       // now that the incidents are durable
		return errors.Join(s.checkpointNow(), s.ident.write(s.cfg.Dir)) // a checkpoint that does not fit the journal must not be met again
	}
	if r.records > 0 {
		s.commit.dirtySince = time.Now()
	}
	return nil
}

// openCommit writes what has to be there before the node serves: the default app.
func (s *Store) openCommit() error {
	g := s.commit.group
	g.begin(s.catalog.Load(), micros(s.cfg.Now()))
	g.hard = true
	err := s.stageChanges(g, func(tx *tx) error {
		if _, err := tx.catalog.app(picloud.DefaultApp); err != nil {
			if _, err := tx.createApp(picloud.App{Name: picloud.DefaultApp, Description: "The app that is there from the start."}); err != nil {
				return err
			}
			tx.changes = append(tx.changes, s.nodeAnchor())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("prepare to serve: %w", err)
	}
	if err := s.stageIncidents(g, s.incidents.waiting()); err != nil {
		return fmt.Errorf("prepare to serve: %w", err)
	}
	if len(g.records) == 0 {
		return nil
	}
	if err := s.commitGroup(g); err != nil {
		return fmt.Errorf("prepare to serve: %w", err)
	}
	return nil
}

// aside sets a file aside because of cause.
func (s *Store) aside(name string, cause error) error {
	to, err := setAside(s.cfg.Dir, name, s.cfg.Now())
	if err != nil {
		return fmt.Errorf("set %s aside: %w", name, err)
	}
	s.log.Error("file set aside", slog.String("file", name), slog.String("to", to), slog.Any("err", cause))
	s.incident(fmt.Sprintf("%s could not be used (%v) and was set aside as %s; it was rebuilt from the journal.", name, cause, to))
	return nil
}

func cloneChange(c change) change {
	v := c.value
	if v != nil {
		v = append(make([]byte, 0, len(v)), v...)
	}
	return change{table: c.table, key: append([]byte(nil), c.key...), value: v}
}
