package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/picloud/picloud/journal"
)

// A state.db whose rows are to be kept in another way is written anew beside the old one
// and takes its place when it is durable: when its rows have no checksums yet, and when
// its pages are damaged and rows can be read from them all the same.

// stateTemp is where a state.db is made that takes the place of the old one.
const stateTemp = stateFile + ".tmp"

// buildBytes is how much of a new file is written in one transaction, which bounds the
// memory that it takes.
const buildBytes = checkpointMemory

// buildState makes a state.db of the rows that are put, and what it says of itself. It is
// durable when that is done; after an error there is none.
func buildState(path string, meta checkpointMeta, rows func(put func(key, value []byte) error) error) (err error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path) // the first error is the one to tell
		}
	}()
	db, err := openBolt(path, false, checkPages)
	if err != nil {
		return err
	}
	db.NoSync = true // until all is there
	b := stateBuilder{db: db, seal: meta.seal(), sums: tableSums{}}
	if err := errors.Join(b.build(meta, rows), db.Sync()); err != nil {
		return errors.Join(err, db.Close())
	}
	return db.Close()
}

// stateBuilder writes the rows of a new file.
type stateBuilder struct {
	db   *bbolt.DB
	seal seal
	sums tableSums

	tx   *bbolt.Tx // nil: none is open
	rows *bbolt.Bucket
	size int // bytes written in tx
}

func (b *stateBuilder) build(meta checkpointMeta, rows func(put func(key, value []byte) error) error) error {
	err := b.begin()
	if err == nil {
		err = rows(b.put)
	}
	if b.tx == nil {
		return err
	}
	if err == nil {
		meta.Sums = b.sums
		err = putMeta(b.tx, &meta)
	}
	if err != nil {
		return errors.Join(err, b.tx.Rollback())
	}
	return b.tx.Commit()
}

func (b *stateBuilder) begin() (err error) {
	if b.tx, err = b.db.Begin(true); err != nil {
		return err
	}
	b.rows, err = b.tx.CreateBucketIfNotExists(bucketRows)
	if err == nil {
		b.rows.FillPercent = 0.9 // keys come in order, mostly
	}
	return err
}

func (b *stateBuilder) put(key, value []byte) error {
	if b.size >= buildBytes {
		err := b.tx.Commit()
		b.tx, b.size = nil, 0
		if err == nil {
			err = b.begin()
		}
		if err != nil {
			return err
		}
	}
	t := table(key[0])
	if before := b.rows.Get(key); before != nil { // of a damaged file, on two pages
		_, sum, _ := split(before)
		b.sums.add(t, sum, -1)
	}
	kept, sum := b.seal.add(key, value)
	b.sums.add(t, sum, 1)
	b.size += len(key) + len(kept) + rowCost
	return b.rows.Put(key, kept)
}

// upgradeState gives the rows of a state.db of an older format checksums. After an error
// the file is open and as it was.
func (s *Store) upgradeState(st *stateDB, meta checkpointMeta) (*stateDB, checkpointMeta, error) {
	path, temp := s.path(stateFile), s.path(stateTemp)
	if free, ok := freeBytes(s.cfg.Dir); ok && s.cfg.ReserveBytes > 0 && free-usedBytes(st.DB) < s.cfg.ReserveBytes {
		return st, meta, errors.New("there is no space for a second one")
	}
	sealed := meta
	sealed.Version, sealed.Salt = stateVersion, newSeal().salt
	err := buildState(temp, sealed, func(put func(key, value []byte) error) error {
		return st.View(func(tx *bbolt.Tx) error { return tx.Bucket(bucketRows).ForEach(put) })
	})
	if err != nil {
		return st, meta, err
	}
	err = st.Close()
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = syncDir(s.cfg.Dir)
	}
	if err != nil {
		return nil, meta, fmt.Errorf("put a new state.db in place: %w", err)
	}
	return openState(path, false)
}

// legible is what can be read of a damaged state.db.
type legible struct {
	exact   bool   // all that the checkpoint had
	missing string // what is not, or may be older
	journal surveyed
	meta    checkpointMeta
}

// mendState makes of the rows that can be read of a damaged state.db a new one beside it.
// When they are all the rows of the checkpoint it takes the place of that. When they are
// not, and the journal is not whole, it holds what that does not repeat, for the journal to
// be replayed over it: a page may hold rows as they were once, and of a catalog that the
// journal has none may come back that was deleted.
func mendState(path, temp string, survey func(meta checkpointMeta) (surveyed, error)) (l legible, err error) {
	f, err := openQuiet(path, os.O_RDONLY, 0)
	if err != nil {
		return l, err
	}
	defer func() { _ = f.Close() }() // only read
	err = readPages(f, func(pages *pageFile) error {
		have := tableSums{}
		r := &stateReading{}
		r.row = func(key, value []byte) error {
			have.add(table(key[0]), r.meta.seal().sum(key, value), 1)
			return nil
		}
		if err := r.readLegible(pages); err != nil {
			return err
		}
		if !r.begun || r.meta.seal().none {
			return errors.New("its rows have no checksums")
		}
		l.meta, l.exact, r.sums = r.meta, maps.Equal(have, r.meta.Sums), have
		meta := r.meta
		if !l.exact {
			l.missing = r.missing()
			if l.journal, err = survey(r.meta); err != nil {
				return err
			}
			meta = checkpointMeta{Version: stateVersion, Node: r.meta.Node, Salt: r.meta.Salt, Found: &found{
				Rescued: true, Based: !l.journal.catalog,
				Lost: []string{fmt.Sprintf("state.db was damaged, and not all of it could be read: %s. What the journal has of that is there again; the rest is lost or as it was before.", l.missing)},
			}}
		}
		if l.journal.whole {
			return nil
		}
		return buildState(temp, meta, func(put func(key, value []byte) error) error {
			again := &stateReading{row: func(key, value []byte) error {
				if l.journal.catalog && table(key[0]).inCatalog() {
					return nil
				}
				return put(key, value)
			}}
			return again.readLegible(pages)
		})
	})
	return l, err
}

// readLegible reads what can be read of a damaged file.
func (r *stateReading) readLegible(f *pageFile) error {
	return r.walk(&pageWalk{f: f, fault: func(error) error { return nil }})
}

// replaceState puts another state.db in the place of one that cannot be used: one of the
// rows that can be read of it when mend is set and that is better than what the journal
// alone makes, else an empty one.
func (s *Store) replaceState(r *recovery, cause error, mend bool) (*stateDB, checkpointMeta, error) {
	var meta checkpointMeta
	if err := checkJournal(&s.cfg, checkpointMeta{}); err != nil { // all of it will be replayed
		return nil, meta, err
	}
	path := s.path(stateFile)
	var l legible
	if mend {
		var err error
		l, err = mendState(path, s.path(stateTemp), s.surveyJournal)
		if isUnread(err) {
			return nil, meta, unread(stateFile, err)
		}
		if err != nil {
			s.log.Warn("nothing of the damaged state.db can be used", slog.Any("err", err))
			l = legible{}
		}
	}
	r.before = l.meta
	if !l.exact && (l.journal.whole || l.missing == "") {
		nothing := func(func(key, value []byte) error) error { return nil }
		err := buildState(s.path(stateTemp), checkpointMeta{Version: stateVersion, Salt: newSeal().salt}, nothing)
		if isUnread(err) {
			return nil, meta, unread(stateFile, err)
		}
		if err == nil {
			err = s.aside(r, stateFile, cause)
		}
		if err == nil {
			err = errors.Join(os.Rename(s.path(stateTemp), path), syncDir(s.cfg.Dir))
		}
		if err != nil {
			return nil, meta, err
		}
		return openState(path, false)
	}
	to, err := keepAside(s.cfg.Dir, stateFile, s.cfg.Now())
	if err != nil {
		return nil, meta, fmt.Errorf("put a new state.db in place: %w", err)
	}
	s.log.Error("file set aside", slog.String("file", stateFile), slog.String("to", to), slog.Any("err", cause))
	if l.exact {
		s.incident(fmt.Sprintf("%s was damaged (%v) and was set aside as %s; all of its rows could be read, and nothing is lost.", stateFile, cause, to))
	} else {
		s.incident(fmt.Sprintf("%s was damaged (%v) and was set aside as %s; it was rebuilt from the rows that could be read and the journal.", stateFile, cause, to))
	}
	err = s.keepFound(r)
	if err == nil {
		err = os.Rename(s.path(stateTemp), path)
	}
	if err == nil {
		err = syncDir(s.cfg.Dir)
	}
	if err != nil {
		return nil, meta, fmt.Errorf("put a new state.db in place: %w", err)
	}
	return openState(path, false)
}

// surveyed is what the journal has of a checkpoint.
type surveyed struct {
	whole   bool // every record of it: all can be made of the journal alone
	catalog bool // all of its catalog
}

// surveyJournal reads the journal as far as a checkpoint reaches: a file that is there may
// have damaged records, and is worth nothing then. The error is one of isUnread.
func (s *Store) surveyJournal(meta checkpointMeta) (surveyed, error) {
	if meta.Found != nil && meta.Found.Rescued {
		return surveyed{}, nil // the rows are there because the journal has them not
	}
	want, from := journal.LSN(1), journal.LSN(1) // from: all since is there
	based, strange := false, false               // the catalog was repeated since
	jc := s.cfg.journal(1)
	jc.Peeked = false
	err := journal.Survey(jc, meta.Journal, func(rec *journal.Record) error {
		first, last := rec.Range()
		switch {
		case want > meta.LSN || strange:
			return io.EOF
		case rec.Kind == journal.KindLost, rec.Kind == journal.KindSkipped && first == 1: // begun in the place of one that was lost
			from, based = last+1, false
		case first != want:
			from, based = first, false
		}
		if want = last + 1; rec.Kind == kindChange {
			began, err := anchorEnd(rec.Body)
			based, strange = based || began >= from, err != nil
		}
		return nil
	})
	if isUnread(err) {
		return surveyed{}, unread(journalDir, err)
	}
	if strange || want <= meta.LSN || err != nil && !errors.Is(err, io.EOF) {
		return surveyed{}, nil
	}
	return surveyed{whole: from == 1, catalog: from == 1 || based}, nil
}

// illegible is what reading a row meets that bbolt cannot bring: a page that the disk does
// not give any more, or that has changed since it was checked.
func illegible(r any) error { return fmt.Errorf("%w: %v", bolterrors.ErrInvalid, r) }
