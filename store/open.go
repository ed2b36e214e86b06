package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
		beat:   make(chan struct{}),
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
		if isFull(err) && !strings.Contains(err.Error(), freeSpace) {
			err = fmt.Errorf("%w: the disk is full; %s", err, freeSpace)
		}
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
	readAll    bool           // the journal may be damaged: all of it is to be read

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
	if err := s.openIdentity(&r); err != nil {
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

// freeSpace is what to do when the disk is full.
const freeSpace = "free space on it, and start again"

// unread is the error that a file was not read, and what to do.
func unread(file string, cause error) error {
	hint := "start again when that has passed"
	switch {
	case errors.Is(cause, bolterrors.ErrTimeout):
		hint = "another program holds it: end that, and start again"
	case errors.Is(cause, fs.ErrPermission):
		hint = "give it to the user that runs picloud"
	case isFull(cause):
		return fmt.Errorf("%s cannot be made (%w): the disk is full; nothing was changed; %s", file, cause, freeSpace)
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
	there, terr := exists(s.path(stateFile))
	st, meta, err := openState(s.path(stateFile), s.readOnly)
	if isFull(err) && terr == nil && !there {
		_ = os.Remove(s.path(stateFile)) // half of an empty one
	}
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
	case len(st.bad) > 0 && !s.readOnly:
		j, uerr := s.surveyJournal(meta)
		if uerr != nil {
			return errors.Join(uerr, st.Close())
		}
		if r.readAll = true; j.whole {
			err = fmt.Errorf("%d of its rows are damaged", len(st.bad))
		}
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
	if r.readAll {
		jc.ScanFrom = 1
	}
	jc.Copy = s.ident.forking()
	jc.Found = func(damage ...journal.Damage) error {
		for i := range damage {
			r.lose(damageText(&damage[i]))
		}
		return s.keepFound(r)
	}
	j, rec, err := journal.Open(jc)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	s.journal, s.journalID, r.journal = j, rec.ID, rec
	for _, d := range rec.Damage {
		r.lose(damageText(&d))
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
	anew := j.Fresh || st.Journal != j.ID && (j.Last == 0 || slices.Contains(r.Lost, lostJournal)) // by a start that was cut off
	if st.Journal == j.ID || anew {
		r.reach = st.LSN
	}
	switch {
	case anew && st.Journal != 0, j.Fresh && r.known && !s.cfg.making:
		r.lose(lostJournal)
		st.LSN, r.unrepeated = 0, st.Journal != 0
	case st.Journal == 0: // no checkpoint yet, or it was lost: the journal has to have everything
		r.Unbased = j.First > 1
		if len(r.Lost) > 0 {
			r.lose("There was no checkpoint in state.db: what only the lost records had of apps and their data is lost, too.")
		}
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
		if err := s.aside(r, stateFile, errors.New("it belongs to another journal")); err != nil {
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
		if err := s.keepFound(r); err != nil {
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
	told, err := s.openCommit()
	if err != nil {
		return err
	}
	if r.unrepeated { // else a lost state.db would take the catalog with it
		if err := s.writeAnchor(); err != nil {
			return err
		}
	}
	if len(r.Lost) > 0 {
		err = s.checkpointNow() // one that does not fit the journal must not be met again
		if isFull(err) {        // the next start tells again
			s.log.Warn("checkpoint failed, trying again later", slog.Any("err", err))
			s.commit.dirtySince, told, err = time.Now(), false, nil
		}
	} else if r.records > 0 {
		s.commit.dirtySince = time.Now()
	}
	if told {
		err = errors.Join(err, s.forgetFound(r))
	}
	return err
}

// openCommit writes what has to be there before the node serves: the default app, and
// incidents. told reports whether these are durable: there may be no space.
func (s *Store) openCommit() (told bool, err error) {
	g := s.commit.group
	g.begin(s.catalog.Load(), micros(s.cfg.Now()))
	g.hard = true
	err = s.stageChanges(g, func(tx *tx) error {
		if _, err := tx.catalog.app(picloud.DefaultApp); err != nil {
			if _, err := tx.createApp(picloud.App{Name: picloud.DefaultApp, Description: "The app that is there from the start."}); err != nil {
				return err
			}
			tx.changes = append(tx.changes, s.nodeAnchor())
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("prepare to serve: %w", err)
	}
	if err := s.stageIncidents(g, s.incidents.waiting()); err != nil {
		return false, fmt.Errorf("prepare to serve: %w", err)
	}
	if len(g.records) == 0 {
		return true, nil
	}
	before := s.journal.Written()
	if err := s.commitGroup(g); err != nil {
		return false, fmt.Errorf("prepare to serve: %w", err)
	}
	return s.journal.Written() > before, nil
}

// aside sets a file aside because of cause.
func (s *Store) aside(r *recovery, name string, cause error) error {
	to, err := keepAside(s.cfg.Dir, name, s.cfg.Now())
	if err != nil {
		return fmt.Errorf("set %s aside: %w", name, err)
	}
	s.log.Error("file set aside", slog.String("file", name), slog.String("to", to), slog.Any("err", cause))
	s.incident(fmt.Sprintf("%s could not be used (%v) and was set aside as %s; it was rebuilt from the journal.", name, cause, to))
	if err := s.keepFound(r); err != nil {
		return err
	}
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set %s aside: %w", name, err)
	}
	return syncDir(s.cfg.Dir)
}

func cloneChange(c change) change {
	v := c.value
	if v != nil {
		v = append(make([]byte, 0, len(v)), v...)
	}
	return change{table: c.table, key: append([]byte(nil), c.key...), value: v}
}
