package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/journal"
)

// An archive is believed no more than a request: its checksums prove that it came as it
// was made, not who made it. Its records are checked before the node in it is opened
// (checkJournalOf), its rows, and what they refer to, behind that (checkRestored).

// checkJournalOf returns an error when the journal of a directory that was unpacked from
// an archive lacks a record, cannot be read to its end, or has a record that no request
// of a client could have made, or something newer. It changes nothing.
func checkJournalOf(dir string, about *summary) error {
	cfg := Config{Dir: dir}
	if err := checkFormats(&cfg); err != nil {
		return err
	}
	err := peekBolt(filepath.Join(dir, stateFile), func(f *pageFile) error { return checkStateCopy(f, nil) })
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackupDamaged, err)
	}
	jc := cfg.journal(1)
	jc.Peeked = false
	next, damaged := journal.LSN(0), about.damagedJournal()
	err = journal.Peek(jc, 0, func(file string, r *journal.Record) error {
		first, last := r.Range()
		if next == 0 { // a segment is named for its first record
			base, _ := strconv.ParseUint(strings.TrimSuffix(file, ".log"), 10, 64)
			next = journal.LSN(base)
		}
		if first > next && !damaged {
			return fmt.Errorf("%w: journal/%s: records %d to %d cannot be read", ErrBackupDamaged, file, next, first-1)
		}
		next, about.newest = max(next, last+1), max(about.newest, r.At)
		if err := checkRecord(r); err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrBackupDamaged, r.LSN, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case next == 0:
		return fmt.Errorf("%w: its journal is empty", ErrBackupDamaged)
	case next <= journal.LSN(about.lastLSN) && !damaged:
		return fmt.Errorf("%w: its journal ends before record %d, the last", ErrBackupDamaged, about.lastLSN)
	}
	return nil
}

// checkStateCopy reads a copy of state.db and returns an error unless all of it is as it
// was written. It calls row, unless that is nil, with each row.
func checkStateCopy(f *pageFile, row func(key, value []byte) error) error {
	r := stateReading{row: row}
	err := r.read(f)
	if err == nil {
		err = r.verdict()
	}
	if err == nil && r.bads+len(r.intact) > 0 {
		err = fmt.Errorf("%d of its rows are damaged", r.bads+len(r.intact))
	}
	return err
}

// checkRow returns an error for a row that is copied to others and fails the checks by
// which it would be restored, or is not the row that they would make of it. It returns
// the row to keep instead when a former version took more than this one; nil: the row
// stays.
func checkRow(ch change) (mended []byte, err error) {
	k := ch.table.kind()
	if k == nil || k.copied == nil || ch.value == nil {
		return nil, nil
	}
	is, err := changeOf(ch)
	if err != nil || is.Value == nil {
		return nil, err
	}
	named := func(err error) error { return fmt.Errorf("%s %q of app %q: %w", is.Kind, is.Name, is.App, err) }
	rows, err := k.copied.restore(&restorer{lsn: 1}, is.Value)
	if err != nil {
		return nil, named(err)
	}
	found := len(rows) == 0
	for _, row := range rows {
		found = found || row.table == ch.table && bytes.Equal(row.key, ch.key)
	}
	if !found {
		return nil, named(errors.New("it says of itself that it is another"))
	}
	if mended, err = k.copied.mend(string(ch.key), ch.value); err != nil {
		return nil, named(err)
	}
	return mended, nil
}

func checkRecord(r *journal.Record) error {
	switch r.Kind {
	case kindChange:
		ch, err := parseChange(r.Body)
		if err == nil {
			_, err = checkRow(ch)
		}
		return err
	case kindEvent:
		e, err := parseEvent(0, r)
		if err != nil {
			return err
		}
		if err := check.AppName(e.App); err != nil {
			return err
		}
		if err := check.AnyTopicName(e.Topic); err != nil {
			return err
		}
		var data bytes.Buffer
		if err := check.CompactJSON(&data, e.Data); err != nil {
			return err
		}
		if !bytes.Equal(data.Bytes(), e.Data) { // the frames of streams rely on it
			return fmt.Errorf("the data of an event of topic %q are not compact JSON", e.Topic)
		}
	}
	return nil
}

// checkRestored returns an error that names the first row of a restored node that no
// request of a client could have made, or that refers to something that is not there.
// Texts that only former versions took are brought into the form that this one takes.
// There is no committer.
func (s *Store) checkRestored(about *summary) error {
	if notes := s.Health().Notes; len(notes) > 0 && !about.damagedJournal() {
		return fmt.Errorf("%w: %s", ErrBackupDamaged, notes[0])
	}
	now := max(micros(s.cfg.Now()), about.newest) // the clock of a new board may be behind
	g := s.commit.group
	g.begin(s.catalog.Load().copy(), micros(s.cfg.Now()))
	for _, tb := range tablesWhere(func(k *rowKind) bool { return k.copied != nil || k.refers != nil }) {
		var fault error
		var mends []change
		s.tables.scan(tb, "", "", func(key string, row []byte) bool {
			ch := change{table: tb, key: []byte(key), value: row}
			var mended []byte
			if mended, fault = checkRow(ch); fault == nil {
				fault = s.checkReferences(ch, now)
			}
			if fault == nil && tb == tableFile {
				fault = s.checkContentOf(row, about)
			}
			if mended != nil {
				mends = append(mends, change{table: tb, key: []byte(key), value: mended})
			}
			return fault == nil
		})
		if fault != nil {
			return fmt.Errorf("%w: %w", ErrBackupDamaged, fault)
		}
		for _, ch := range mends {
			if err := s.stageRestored(g, []change{ch}); err != nil {
				return err
			}
		}
	}
	if err := s.stageRestored(g, s.incidentsRestored(g)); err != nil {
		return err
	}
	if err := s.stageRestored(g, putOf(tableNote, restoredNote, []byte(strconv.FormatUint(s.ident.Incarnation, 10)))); err != nil {
		return err
	}
	g.hard, g.changed = true, true
	return s.commitGroup(g)
}

// restoredNote has the incarnation that a backup was restored as.
const restoredNote = "restored as"

// RestoredOnPurpose reports whether the node is one that was restored from a backup: it
// went back to an earlier state because an operator wanted that.
func (s *Store) RestoredOnPurpose() bool {
	return string(s.Note(restoredNote)) == strconv.FormatUint(s.ident.Incarnation, 10)
}

// incidentsRestored returns the rows of incidents for which a copy would be asked, as those
// for which none is: a backup goes back on purpose.
func (s *Store) incidentsRestored(g *group) (changes []change) {
	g.catalog.incidents().Scan(func(id string, in Incident) bool {
		if in.Rows && in.HealedAt.IsZero() {
			in.HealedAt = fromMicros(g.at)
			changes = append(changes, putOf(tableIncident, id, in)...)
		}
		return true
	})
	return changes
}

// checkReferences returns an error that names a row when what it refers to is not there.
func (s *Store) checkReferences(ch change, now int64) error {
	k := ch.table.kind()
	app, name, below := strings.Cut(string(ch.key), "\x00")
	var err error
	if below && !k.node {
		_, err = s.catalog.Load().app(app)
	}
	if err == nil && k.refers != nil {
		err = k.refers(s, ch, now)
	}
	if err != nil {
		return fmt.Errorf("%s: %q of app %q: %w", k.name, name, app, err)
	}
	return nil
}

// checkContentOf returns an error when the content of a file is not the one that its row
// tells of, and the archive does not say so. If it says so, a content that is another is
// set aside, so that it is not taken for the file's.
func (s *Store) checkContentOf(row []byte, about *summary) error {
	f, err := decodeAs[picloud.File](row)
	if err != nil {
		return err
	}
	path := blobsDir + "/" + f.Blob
	have, there := about.contents[path]
	fault := fileFault(&f, have, there)
	if fault == nil {
		return nil
	}
	if _, known := about.damaged[path]; !known {
		return fmt.Errorf("file %q of app %q: %w", f.Path, f.App, fault)
	}
	if !there {
		return nil
	}
	aside := s.path(damagedDir)
	if err := os.Mkdir(aside, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Rename(s.path(path), filepath.Join(aside, f.Blob))
}
