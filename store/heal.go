package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/journal"
)

// What was lost or damaged here may be whole in the copy in Postgres. The store says what
// it misses and takes it back; package pgsync looks for it. A row is taken back only where
// there is none, or an older one, and no change since the copy says otherwise: what was
// deleted stays deleted.

// healing is what was found damaged and a copy may have whole. It is safe for concurrent
// use. What it forgets at a restart, the next look for damage finds again.
type healing struct {
	mu       sync.Mutex
	contents map[string]damagedContent // by the names of blobs

	apps map[string]uint64 // incarnations of apps that came back; of the committer
}

type damagedContent struct {
	file     picloud.File
	incident string // its id
}

// maxDamagedContents bounds the contents that wait for healing.
const maxDamagedContents = 1000

// contentDamaged tells that the content of a file is not what was written, and keeps it in
// mind for healing.
func (s *Store) contentDamaged(f *picloud.File, what string) {
	text := fmt.Sprintf("The content of the file %q of the app %s %s. Write it again, or restore a backup.", f.Path, f.App, what)
	s.incident(text)
	s.healing.mu.Lock()
	defer s.healing.mu.Unlock()
	if s.healing.contents == nil {
		s.healing.contents = map[string]damagedContent{}
	}
	if len(s.healing.contents) < maxDamagedContents {
		s.healing.contents[f.Blob] = damagedContent{*f, incidentID(text)}
	}
}

// DamagedContents lists the files whose content was found damaged or missing.
func (s *Store) DamagedContents() (files []picloud.File) {
	s.healing.mu.Lock()
	defer s.healing.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.healing.contents)) {
		files = append(files, s.healing.contents[name].file)
	}
	return files
}

// HealContent puts a content of a file in the place of the damaged one, if it is the one
// that was written. It reports whether it was; the file may also be gone.
func (s *Store) HealContent(ctx context.Context, f picloud.File, from io.Reader) (healed bool, err error) {
	defer func() {
		if err == nil {
			s.forgetContent(f.Blob)
		}
	}()
	err = s.blobs.replace(f.Blob, from, func(w blob) bool {
		now, err := s.File(f.App, f.Path)
		return err == nil && now.Blob == f.Blob && w.size == f.Size && strings.EqualFold(w.sum, f.SHA256)
	})
	if errors.Is(err, errOtherContent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.log.Info("content came back from the copy", slog.String("app", f.App), slog.String("file", f.Path))
	s.healing.mu.Lock()
	id := s.healing.contents[f.Blob].incident
	s.healing.mu.Unlock()
	return true, s.noteHealed(ctx, "It came back from the copy in Postgres.", func(in *Incident) bool { return in.ID == id })
}

func (s *Store) forgetContent(name string) {
	s.healing.mu.Lock()
	defer s.healing.mu.Unlock()
	delete(s.healing.contents, name)
}

// RowsHealed notes that a copy was asked for lost rows, what came of it, and for which
// incidents.
func (s *Store) RowsHealed(ctx context.Context, what string, incidents []string) error {
	return s.noteHealed(ctx, what, func(in *Incident) bool { return in.Rows && slices.Contains(incidents, in.ID) })
}

func (s *Store) noteHealed(ctx context.Context, what string, of func(in *Incident) bool) error {
	return s.do(ctx, "", func(tx *tx) error {
		for _, in := range tx.putIncidents(s.incidents.waiting()).Values() {
			if in.HealedAt.IsZero() && of(&in) {
				in.HealedAt, in.Healed = fromMicros(tx.at), what
				tx.put(tableIncident, in.ID, in)
			}
		}
		return nil
	})
}

// TellLoss tells of records that were lost and may have been rows. The text says what to do.
func (s *Store) TellLoss(text string) {
	if s.lostRows(text) {
		s.log.Error("data was lost", slog.String("what", text))
	}
}

// TellDifference tells of a difference between the node and its copy.
func (s *Store) TellDifference(text string) { s.incident(text) }

// MissingRows lists the incidents that tell of lost rows, or of records that may have been
// rows, and for which RowsHealed was not called yet.
func (s *Store) MissingRows() (incidents []string) {
	for _, in := range s.Incidents() {
		if in.Rows && in.HealedAt.IsZero() {
			incidents = append(incidents, in.ID)
		}
	}
	return incidents
}

// Things calls fn with everything that is copied, until fn returns false. The version is
// 0 for kinds that have none. Rows that change meanwhile may be missing, or be there twice.
func (s *Store) Things(fn func(kind picloud.ChangeKind, app, name string, version uint64) bool) error {
	for _, tb := range tablesWhere(func(k *rowKind) bool { return k.copied != nil }) {
		for after, more := "", true; more; {
			page, next, err := s.thingsOf(tb, after)
			if err != nil {
				return err
			}
			for _, c := range page {
				if !fn(c.Kind, c.App, c.Name, versionOf(c.Value)) {
					return nil
				}
			}
			after, more = next, next != ""
		}
	}
	return nil
}

// thingsOf returns a page of the things of a table; next is empty after the last.
func (s *Store) thingsOf(tb table, after string) (page []picloud.Change, next string, err error) {
	size, more := 0, false
	s.tables.scan(tb, "", after, func(key string, row []byte) bool {
		if key == after {
			return true
		}
		if more = len(page) == rowsAtOnce || size > rowBytesAtOnce; more {
			return false
		}
		var c *picloud.Change
		if c, err = changeOf(change{table: tb, key: []byte(key), value: row}); err != nil {
			return false
		}
		c.Value = versionOf(c.Value) // the rest is not needed
		page, next, size = append(page, *c), key, size+len(row)
		return true
	})
	if !more {
		next = ""
	}
	return page, next, err
}

// versionOf returns what rises with every change of a thing; 0: nothing does.
func versionOf(value any) uint64 {
	switch v := value.(type) {
	case uint64:
		return v
	case picloud.Entry:
		return v.Version
	case picloud.Document:
		return v.Version
	case picloud.File:
		return v.Version
	}
	return 0
}

// VersionOf returns the version of a thing, 0 for kinds that have none, and whether it is
// there.
func (s *Store) VersionOf(kind picloud.ChangeKind, app, name string) (version uint64, there bool) {
	tb, key, ok := keyOf(kind, app, name)
	if !ok {
		return 0, false
	}
	return versionIn(tb, key, s.tables.get(tb, key))
}

// Thing returns the change that makes a thing what it is now; nil: there is none.
func (s *Store) Thing(kind picloud.ChangeKind, app, name string) (*picloud.Change, error) {
	tb, key, ok := keyOf(kind, app, name)
	if !ok {
		return nil, nil //nolint:nilnil // there is none
	}
	row := s.tables.get(tb, key)
	if row == nil {
		return nil, nil //nolint:nilnil // as above
	}
	return changeOf(change{table: tb, key: key, value: row})
}

func versionIn(tb table, key, row []byte) (version uint64, there bool) {
	if row == nil {
		return 0, false
	}
	c, err := changeOf(change{table: tb, key: key, value: row})
	if err != nil {
		return 0, false
	}
	return versionOf(c.Value), true
}

// keyOf returns where the row of a thing is; ok is false for a kind that has none.
func keyOf(kind picloud.ChangeKind, app, name string) (tb table, key []byte, ok bool) {
	tables := tablesWhere(func(k *rowKind) bool { return k.copied != nil && k.copied.kind() == kind })
	switch {
	case len(tables) == 0:
		return 0, nil, false
	case tables[0].kind().node || kind == picloud.ChangeApp:
		return tables[0], []byte(name), true
	}
	return tables[0], []byte(pair(app, name)), true
}

// ChangedAfter calls fn with each thing that has changed after an LSN, as far as the journal
// can be read: what was dropped from its beginning has been copied before.
func (s *Store) ChangedAfter(ctx context.Context, lsn uint64, fn func(kind picloud.ChangeKind, app, name string, deleted bool)) error {
	end := s.journal.Written()
	if journal.LSN(lsn) >= end {
		return nil
	}
	rd, err := s.journal.NewReader(journal.LSN(lsn) + 1)
	if errors.Is(err, journal.ErrGone) {
		rd, err = s.readerOfAll(&Verification{})
	}
	if err != nil || rd == nil {
		return err
	}
	defer func() { _ = rd.Close() }() // only read
	for last := lsn; ctx.Err() == nil; {
		rec, err := rd.Next()
		_, damaged := errors.AsType[*journal.DamageError](err)
		switch {
		case errors.Is(err, io.EOF): // the rest is visible, and durable soon
			if err := s.Wait(ctx, last); err != nil {
				return err
			}
			continue
		case damaged:
			if _, err := rd.Resync(); err != nil {
				return fmt.Errorf("read the journal: %w", err)
			}
			continue
		case err != nil:
			return fmt.Errorf("read the journal: %w", err)
		}
		if rec.Kind == kindChange {
			if err := toldOf(rec.Body, fn); err != nil {
				return err
			}
		}
		_, to := rec.Range()
		if last = uint64(to); to >= end {
			return nil
		}
	}
	return context.Cause(ctx)
}

// toldOf calls fn with the thing that a record is a change of.
func toldOf(body []byte, fn func(kind picloud.ChangeKind, app, name string, deleted bool)) error {
	ch, err := parseChange(body)
	if err != nil {
		return err
	}
	deleted := ch.value == nil
	ch.value = nil
	is, err := changeOf(ch)
	if err == nil && is != nil {
		fn(is.Kind, is.App, is.Name, deleted)
	}
	return err
}

// Heal takes things back that were lost, in one commit, after the checks that a request of
// a client passes. Versions are those that were here before, 0 where there was none: a
// thing of another version changed meanwhile, and stays as it is. A thing of an app that
// was made after the record since is one of the app's predecessor, and stays away. It returns
// how many were taken back; refused says why others were not.
func (s *Store) Heal(ctx context.Context, since uint64, things []picloud.Change, versions []uint64) (healed int, refused, err error) {
	healed, err = s.heal(ctx, since, things, versions)
	if err == nil || ctx.Err() != nil || isUnavailable(err) {
		return healed, nil, err
	}
	if len(things) == 1 {
		c := things[0]
		return 0, fmt.Errorf("%s %q of app %q: %w", c.Kind, c.Name, c.App, err), nil
	}
	for i := range things { // to find those that are refused
		n, no, err := s.Heal(ctx, since, things[i:i+1], versions[i:i+1])
		if err != nil {
			return healed, refused, err
		}
		healed += n
		refused = errors.Join(refused, no)
	}
	return healed, refused, nil
}

// isUnavailable reports whether an error is none of the thing that was to be kept.
func isUnavailable(err error) bool {
	return slices.ContainsFunc([]error{picloud.ErrStopping, picloud.ErrReadOnly, picloud.ErrBusy, picloud.ErrNoSpace}, func(e error) bool { return errors.Is(err, e) })
}

func (s *Store) heal(ctx context.Context, since uint64, things []picloud.Change, versions []uint64) (int, error) {
	n, err := ask(ctx, s, "", 0, func(tx *tx) (n int, err error) {
		for i := range things {
			done, err := tx.heal(since, &things[i], versions[i])
			if err != nil {
				return 0, err
			}
			if done {
				n++
			}
		}
		return n, nil
	})
	if err != nil {
		return 0, err
	}
	for i := range things {
		s.checkHealedFile(&things[i])
	}
	return n, nil
}

// heal stages the rows of a thing, unless it has another version than it had.
func (t *tx) heal(since uint64, c *picloud.Change, version uint64) (bool, error) {
	tb, key, ok := keyOf(c.Kind, c.App, c.Name)
	if !ok {
		return false, errors.New("this version does not know that kind; install a newer one")
	}
	now, there := versionIn(tb, key, t.get(tb, key))
	if now != version || there && version == 0 {
		return false, nil
	}
	if app, known := t.catalog.apps().Get(c.App); known && app.Incarnation > since && t.s.healing.apps[c.App] != app.Incarnation {
		return false, nil
	}
	rows, err := tb.kind().copied.restore(&restorer{lsn: t.lsn()}, c.Value)
	if err == nil {
		err = mayRestore(t.catalog, tb.kind(), c, rows)
	}
	if err != nil {
		return false, err
	}
	t.hops = cameBack
	for _, row := range rows {
		t.stage(row, nil)
	}
	if app, known := t.catalog.apps().Get(c.App); known && c.Kind == picloud.ChangeApp {
		if t.s.healing.apps == nil {
			t.s.healing.apps = map[string]uint64{}
		}
		t.s.healing.apps[c.App] = app.Incarnation
	}
	return true, nil
}

// checkHealedFile looks whether the content of a file that came back is there.
func (s *Store) checkHealedFile(c *picloud.Change) {
	f, ok := c.Value.(picloud.File)
	if !ok {
		return
	}
	content, err := s.blobs.open(f.Blob)
	if errors.Is(err, fs.ErrNotExist) {
		s.contentDamaged(&f, "is gone")
	}
	if err == nil {
		_ = content.Close() // only looked at
	}
}
