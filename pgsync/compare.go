package pgsync

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// A comparison asks the database for a digest of the names and versions of the things of
// each kind and app: little enough for a thin link. Only where the digests differ it asks
// for the names. What has changed on the node since the position of the copy is no
// difference.

// Comparison is how the copy and the node differed.
type Comparison struct {
	Things  uint64   // that the node has
	Lost    []string // things that the copy has and the node has not, or has an older version of
	Missing []string // things that the copy had not, or an older version of, and has now
}

// asking is a caller that waits for a comparison.
type asking chan compared

type compared struct {
	comparison Comparison
	err        error
}

// Compare holds the copy against the node, and copies anew what is missing in it. The
// goroutine that copies does that with its next tick, for which it calls wake. Any may call
// it.
func (s *Sync) Compare(ctx context.Context, wake func()) (Comparison, error) {
	answer := make(asking, 1)
	select {
	case s.asked <- answer:
		wake()
	case <-ctx.Done():
		return Comparison{}, context.Cause(ctx)
	}
	select {
	case c := <-answer:
		return c.comparison, c.err
	case <-ctx.Done():
		return Comparison{}, context.Cause(ctx)
	}
}

// ErrAway says that there is no connection.
var ErrAway = errors.New("the copy in Postgres cannot be reached now")

// refuse tells those who wait for a comparison that there is none.
func (s *Sync) refuse() {
	select {
	case answer := <-s.asked:
		answer <- compared{err: ErrAway}
	default:
	}
}

// answer compares for those who wait for it.
func (s *Sync) answer(ctx context.Context) error {
	select {
	case answer := <-s.asked:
		ctx, cancel := context.WithTimeout(ctx, mendTimeout)
		defer cancel()
		c, err := s.compareAndMend(ctx)
		answer <- compared{c, err}
		if err != nil {
			return s.unlessOpen(err)
		}
		return nil
	default:
		return nil
	}
}

func (s *Sync) compareAndMend(ctx context.Context) (c Comparison, err error) {
	if len(s.cfg.Local.MissingRows()) > 0 {
		return c, errors.New("what was lost is being brought back from it; ask again later")
	}
	d, err := s.compareNow(ctx)
	if err != nil {
		return c, err
	}
	contents, err := s.brokenContents(ctx)
	if err != nil {
		return c, err
	}
	for _, t := range contents {
		d.missing[t] = 0
	}
	if err := s.copyMissing(ctx, d.missing); err != nil {
		return c, err
	}
	for _, f := range s.cfg.Local.DamagedContents() { // there is nothing to copy
		delete(d.missing, thing{picloud.ChangeFile, f.App, f.Path})
	}
	c.Things, c.Lost, c.Missing = d.things, texts(d.lost), texts(d.missing)
	return c, nil
}

// compareNow compares in a transaction of its own.
func (s *Sync) compareNow(ctx context.Context) (difference, error) {
	tx, err := s.snapshot(ctx)
	if err != nil {
		return difference{}, err
	}
	d, err := s.compare(ctx, tx)
	if rerr := tx.Rollback(ctx); err == nil { // nothing was written
		err = classify("compare the copy", rerr)
	}
	return d, err
}

func texts(things map[thing]uint64) (list []string) {
	for t := range things {
		list = append(list, t.String())
	}
	slices.Sort(list)
	return list
}

// brokenContents removes from the copy the contents of files that are not as long as they
// should be, and returns the files.
func (s *Sync) brokenContents(ctx context.Context) (files []thing, err error) {
	if s.cfg.OmitContents {
		return nil, nil
	}
	rows, err := s.conn.Query(ctx, s.q(`WITH broken AS (
			SELECT f.node_id, f.app, f.path, f.content FROM @files f LEFT JOIN @file_parts p ON (p.node_id, p.content) = (f.node_id, f.content)
			WHERE f.node_id = $1 GROUP BY f.node_id, f.app, f.path, f.content, f.size HAVING coalesce(sum(length(p.bytes)), 0) <> f.size),
		removed AS (DELETE FROM @file_parts p USING broken b WHERE (p.node_id, p.content) = (b.node_id, b.content))
		SELECT app, path FROM broken`), s.cfg.Local.Node().ID)
	if err != nil {
		return nil, classify("compare contents", err)
	}
	t := thing{kind: picloud.ChangeFile}
	_, err = pgx.ForEachRow(rows, []any{&t.app, &t.name}, func() error {
		files = append(files, t)
		return nil
	})
	return files, classify("compare contents", err)
}

// copyMissing copies things anew.
func (s *Sync) copyMissing(ctx context.Context, things map[thing]uint64) error {
	var page []*picloud.Change
	size := 0
	put := func() error {
		if len(page) == 0 {
			return nil
		}
		err := s.sendContents(ctx, page)
		if err == nil {
			err = s.putAll(ctx, page)
		}
		page, size = nil, 0
		return err
	}
	for t := range things {
		c, err := s.cfg.Local.Thing(t.kind, t.app, t.name)
		if err != nil {
			return err
		}
		if c == nil {
			continue // deleted meanwhile
		}
		if page, size = append(page, c), size+sizeOf(c.Value); len(page) >= healAtOnce || size >= healBytesAtOnce {
			if err := put(); err != nil {
				return err
			}
		}
	}
	return put()
}

// snapshot begins a transaction that sees the copy at one position.
func (s *Sync) snapshot(ctx context.Context) (pgx.Tx, error) {
	tx, err := s.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err == nil {
		if _, err = tx.Exec(ctx, "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0", pgx.QueryExecModeSimpleProtocol); err != nil {
			_ = tx.Rollback(ctx) // the first error is the one to tell
		}
	}
	return tx, classify("compare the copy", err)
}

// difference lists things, and of each the version that the node has; 0: none.
type difference struct {
	things        uint64
	lost, missing map[thing]uint64
	more          bool // there are more than maxDifferent
}

// maxDifferent bounds the things of each list of a difference.
const maxDifferent = 10_000

func (t thing) String() string {
	if t.app == "" || t.kind == picloud.ChangeApp {
		return fmt.Sprintf("%s %q", t.kind, t.name)
	}
	return fmt.Sprintf("%s %q of app %q", t.kind, nameOf(t), t.app)
}

// line is the things of one kind and app.
type line struct {
	kind picloud.ChangeKind
	app  string
}

// digest does not depend on the order of the things.
type digest struct{ things, sum uint64 }

func (d *digest) add(name string, version uint64) {
	sum := sha256.Sum256([]byte(name + ":" + strconv.FormatUint(version, 10)))
	d.things++
	d.sum += binary.BigEndian.Uint64(sum[:]) >> 8
}

// thingsSQL is every thing of a node in the copy, with its version, as nameOf calls it. Of
// a thing that was set aside the version is -1: it is not known.
var thingsSQL = func() string {
	of := func(kind, table, app, name, version string) string {
		return "SELECT " + kind + " AS kind, " + app + " AS app, " + name + " AS name, " + version + " AS version FROM @" + table + " t WHERE t.node_id = $1" + unlessAside(kind, app, name)
	}
	return of("'app'", "apps", "t.name", "t.name", "0::bigint") +
		" UNION ALL " + of("'topic'", "topics", "t.app", "t.name", "0") +
		" UNION ALL " + of("'api-key'", "api_keys", "''", "t.id", "0") +
		" UNION ALL " + of("'signing-key'", "app_secrets", "t.app", "t.key_id", "0") +
		" UNION ALL " + of("'kv'", "kv", "t.app", "t.key", "t.version") +
		" UNION ALL " + of("'document'", "documents", "t.app", "t.collection || '/' || t.id", "t.version") +
		" UNION ALL " + of("'file'", "files", "t.app", "t.path", "t.version") +
		" UNION ALL " + of("t.kind", "definitions", "t.app", "t.name", "0") +
		" UNION ALL SELECT s.kind, s.app, s.name, -1 FROM @set_aside s WHERE " + holds + " AND s.kind <> 'event' AND s.body <> 'null'"
}()

// compare holds the copy, as tx sees it, against the node.
func (s *Sync) compare(ctx context.Context, tx pgx.Tx) (d difference, err error) {
	node := s.cfg.Local.Node().ID
	var at int64
	err = tx.QueryRow(ctx, s.q("SELECT lsn FROM @nodes WHERE id = $1"), node).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, errors.New("nothing of this node was copied yet")
	}
	if err != nil {
		return d, classify("compare the copy", err)
	}
	here := map[line]digest{}
	err = s.cfg.Local.Things(func(kind picloud.ChangeKind, app, name string, version uint64) bool {
		l := line{kind, app}
		sum := here[l]
		sum.add(nameOf(thing{kind, app, name}), version)
		here[l] = sum
		d.things++
		return ctx.Err() == nil
	})
	if err != nil {
		return d, err
	}
	there, err := s.digests(ctx, tx, node)
	if err != nil {
		return d, err
	}
	d.lost, d.missing = map[thing]uint64{}, map[thing]uint64{}
	for l := range union(here, there) {
		if here[l] != there[l] {
			if err := s.compareLine(ctx, tx, l, &d); err != nil {
				return d, err
			}
		}
	}
	if len(d.lost)+len(d.missing) == 0 {
		return d, nil
	}
	return d, s.cfg.Local.ChangedAfter(ctx, uint64(at), d.forget) // #nosec G115 -- counts records
}

// forget drops a thing that is no difference but on its way: it has changed since, or its
// app was deleted.
func (d *difference) forget(kind picloud.ChangeKind, app, name string, deleted bool) {
	for _, list := range []map[thing]uint64{d.lost, d.missing} {
		delete(list, thing{kind, app, name})
		if kind == picloud.ChangeApp && deleted {
			maps.DeleteFunc(list, func(t thing, _ uint64) bool { return t.app == app })
		}
	}
}

func union(a, b map[line]digest) map[line]digest {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func (s *Sync) digests(ctx context.Context, tx pgx.Tx, node string) (map[line]digest, error) {
	rows, err := tx.Query(ctx, s.q(`SELECT kind, app, count(*), mod(sum(('x' || encode(substr(sha256(convert_to(name || ':' || version, 'UTF8')), 1, 7), 'hex'))::bit(56)::bigint), 18446744073709551616)::text
		FROM (`+thingsSQL+`) things GROUP BY 1, 2`), node)
	if err != nil {
		return nil, classify("compare the copy", err)
	}
	there := map[line]digest{}
	var kind, app, sum string
	var count int64
	_, err = pgx.ForEachRow(rows, []any{&kind, &app, &count, &sum}, func() error {
		n, err := strconv.ParseUint(sum, 10, 64)
		there[line{picloud.ChangeKind(kind), app}] = digest{uint64(count), n} // #nosec G115 -- counts rows
		return err
	})
	return there, classify("compare the copy", err)
}

// compareLine finds the things of a line that differ. Names are compared as they are in
// the copy.
func (s *Sync) compareLine(ctx context.Context, tx pgx.Tx, l line, d *difference) error {
	node := s.cfg.Local.Node().ID
	rows, err := tx.Query(ctx, s.q("SELECT name, version FROM ("+thingsSQL+") things WHERE kind = $2 AND app = $3"), node, string(l.kind), l.app)
	if err != nil {
		return classify("compare the copy", err)
	}
	var name string
	var there int64
	_, err = pgx.ForEachRow(rows, []any{&name, &there}, func() error {
		t := thing{l.kind, l.app, localName(l.kind, name)}
		here, ok := s.cfg.Local.VersionOf(t.kind, t.app, t.name)
		if !ok || there > 0 && here < uint64(there) { // #nosec G115 -- positive
			d.note(d.lost, t, here)
		}
		return nil
	})
	if err != nil {
		return classify("compare the copy", err)
	}
	page := map[string]uint64{}
	look := func() error {
		if err := s.findMissing(ctx, tx, l, page); err != nil {
			return err
		}
		for name, version := range page {
			d.note(d.missing, thing{l.kind, l.app, localName(l.kind, name)}, version)
		}
		clear(page)
		return nil
	}
	err = s.cfg.Local.Things(func(kind picloud.ChangeKind, app, name string, version uint64) bool {
		if (line{kind, app}) != l {
			return true
		}
		if page[nameOf(thing{kind, app, name})] = version; len(page) >= namesAtOnce {
			err = look()
		}
		return err == nil
	})
	if err == nil {
		err = look()
	}
	return err
}

// namesAtOnce is how many names are asked for at once.
const namesAtOnce = 1000

// findMissing removes from a page of things those that the copy has.
func (s *Sync) findMissing(ctx context.Context, tx pgx.Tx, l line, page map[string]uint64) error {
	if len(page) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, s.q("SELECT name, version FROM ("+thingsSQL+") things WHERE kind = $2 AND app = $3 AND name = ANY ($4)"),
		s.cfg.Local.Node().ID, string(l.kind), l.app, slices.Collect(maps.Keys(page)))
	if err != nil {
		return classify("compare the copy", err)
	}
	var name string
	var there int64
	_, err = pgx.ForEachRow(rows, []any{&name, &there}, func() error {
		if there < 0 || uint64(there) >= page[name] { // #nosec G115 -- positive
			delete(page, name)
		}
		return nil
	})
	return classify("compare the copy", err)
}

func (d *difference) note(list map[thing]uint64, t thing, here uint64) {
	if len(list) >= maxDifferent {
		d.more = true
		return
	}
	list[t] = here
}
