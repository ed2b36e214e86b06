package store

import (
	"context"
	"log/slog"
	"slices"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

const tableApp table = 1 // app name

var appKind = rowKind{
	name: "apps",
	committed: func(s *Store, ch change) {
		if ch.value == nil {
			s.runs.dropApp(string(ch.key))
			if err := s.shared.dropApp(string(ch.key)); err != nil {
				s.log.Warn("keys of a deleted app stay in the cache", slog.String("app", string(ch.key)), slog.Any("err", err))
			}
			if s.cfg.AppDeleted != nil {
				s.cfg.AppDeleted(string(ch.key))
			}
		}
	},
	catalog: func() rowTree {
		return &tree[*appRow]{Map: new(btree.Map[string, *appRow]), loaded: (*catalog).countApp}
	},
	copied: copies[picloud.App]{
		as:   picloud.ChangeApp,
		from: func(_ string, row []byte) (picloud.App, error) { r, err := decodeAs[appRow](row); return r.App, err },
		with: func(row []byte, a picloud.App) ([]byte, error) {
			r, err := decodeAs[appRow](row)
			r.App = a
			return cborEncode(r), err
		},
		former: func(a *picloud.App) { a.Description = withoutNUL(a.Description) },
		check:  checkedBy(check.App),
		to: func(r *restorer, a picloud.App) ([]change, error) {
			return putOf(tableApp, a.Name, appRow{App: a, Incarnation: r.lsn}), nil
		},
	},
}

// appRow is an app as it is kept. Born is the sequence of the name's history at
// which this app began: events up to it belonged to a deleted app of the same
// name.
//
// Incarnation is the record that made the app: it tells the app from others of that
// name, of which something may still be under way. 0: it was made by a version that
// did not note it.
type appRow struct {
	App         picloud.App
	Born        uint64
	Incarnation uint64 `cbor:",omitempty"`

	sequence *sequence
}

// countApp gives an app the counter of its name.
func (c *catalog) countApp(name string, row **appRow) { (*row).sequence = c.sequence(name) }

func (c *catalog) apps() *btree.Map[string, *appRow] { return rowsOf[*appRow](c, tableApp) }

// Apps returns all apps, sorted by name.
func (s *Store) Apps() []picloud.App {
	rows := under(s.catalog.Load().apps(), "")
	apps := make([]picloud.App, len(rows))
	for i, r := range rows {
		apps[i] = cloneApp(r.App)
	}
	return apps
}

// App returns one app, or picloud.ErrAppNotFound.
func (s *Store) App(name string) (picloud.App, error) {
	row, err := s.catalog.Load().app(name)
	if err != nil {
		return picloud.App{}, err
	}
	return cloneApp(row.App), nil
}

// Incarnation tells an app from others that had its name before; 0: there is none,
// or it is older than this mark.
func (s *Store) Incarnation(name string) uint64 {
	if row, err := s.catalog.Load().app(name); err == nil {
		return row.Incarnation
	}
	return 0
}

// SetAppDeleted sets a function that is told of apps that were deleted, so that what
// runs for them is ended. It must not block. Call it before Run.
func (s *Store) SetAppDeleted(fn func(app string)) { s.cfg.AppDeleted = fn }

// CreateApp creates an app. An app that was deleted under the same name stays
// invisible: the new one's history begins where the old one's ended.
func (s *Store) CreateApp(ctx context.Context, a picloud.App) (picloud.App, error) {
	if err := check.App(a); err != nil {
		return picloud.App{}, err
	}
	a = cloneApp(a)
	return ask(ctx, s, configOf(a.Name), 0, func(tx *tx) (picloud.App, error) { return tx.createApp(a) })
}

func (t *tx) createApp(a picloud.App) (picloud.App, error) {
	if _, err := t.catalog.app(a.Name); err == nil {
		return a, picloud.ErrAppExists.Detailf("%q exists; choose another name, or change it with PATCH", a.Name)
	}
	a.CreatedAt = fromMicros(t.at)
	a.UpdatedAt = a.CreatedAt
	t.put(tableApp, a.Name, appRow{App: a, Born: t.s.sequenceOf(a.Name).last, Incarnation: t.lsn()})
	return a, nil
}

// UpdateApp changes an app.
func (s *Store) UpdateApp(ctx context.Context, name string, p picloud.AppPatch) (picloud.App, error) {
	return ask(ctx, s, configOf(name), 0, func(tx *tx) (picloud.App, error) {
		row, err := tx.catalog.app(name)
		if err != nil {
			return picloud.App{}, err
		}
		a := p.Apply(row.App)
		if err := check.App(a); err != nil {
			return a, err
		}
		a.UpdatedAt = fromMicros(tx.at)
		tx.put(tableApp, name, appRow{App: a, Born: row.Born, Incarnation: row.Incarnation})
		return cloneApp(a), nil
	})
}

// deleteChunk bounds the rows that go in one commit.
const deleteChunk = 500

// DeleteApp deletes an app with its topics, keys and history. Live streams end.
func (s *Store) DeleteApp(ctx context.Context, name string) error {
	if name == picloud.DefaultApp {
		return picloud.ErrAppProtected
	}
	return s.untilDone(ctx, configOf(name), func(tx *tx) (bool, error) { return tx.deleteApp(name) })
}

// deleteApp removes the app's rows, the app's own last. With more rows than fit
// into one commit, more is true: the rest goes by calling again.
func (t *tx) deleteApp(name string) (more bool, err error) {
	if _, err := t.catalog.app(name); err != nil {
		return false, err
	}
	rows := t.rowsOfApp(name)
	size := 0
	for n := 0; len(rows) > 0 && n < deleteChunk && size < t.s.chunk() && !t.enough(); n++ {
		r := rows[0]
		rows = rows[1:]
		size += recordCost + len(r.key)
		t.remove(r.table, string(r.key))
	}
	if len(rows) > 0 || t.g.holdsData(name) {
		return true, nil
	}
	t.remove(tableApp, name)
	t.revoke(picloud.Revocation{App: name})
	return false, nil
}

// rowsOfApp lists the rows that belong to an app, of its data a part: first the
// catalog, so that triggers ask for nothing more; then data; and then by what data
// is understood.
func (t *tx) rowsOfApp(app string) (list []change) {
	prefix := pair(app, "")
	add := func(tb table, keys ...string) {
		for _, key := range keys {
			list = append(list, change{table: tb, key: []byte(key)})
		}
	}
	addCatalog := func(describesData bool) {
		for _, tb := range tablesWhere(func(k *rowKind) bool { return k.catalog != nil && k.describesData == describesData }) {
			switch k := tb.kind(); {
			case k.ofApp != nil:
				add(tb, k.ofApp(t.catalog, app)...)
			case !k.node:
				add(tb, t.catalog.trees[tb].keys(prefix)...)
			}
		}
	}
	addCatalog(false)
	for _, tb := range tablesWhere(func(k *rowKind) bool { return k.data }) {
		if len(list) <= deleteChunk {
			t.s.tables.scan(tb, prefix, "", func(key string, _ []byte) bool {
				add(tb, key)
				return len(list) <= deleteChunk
			})
		}
	}
	for _, d := range t.s.sequenceOf(app).account.staged.keys {
		if d.n > 0 && len(list) <= deleteChunk {
			t.s.tables.scan(tableIdem, string(idemKey(d.period, app, "")), "", func(key string, _ []byte) bool {
				add(tableIdem, key)
				return len(list) <= deleteChunk
			})
		}
	}
	if len(list) <= deleteChunk {
		addCatalog(true)
	}
	return list
}

func cloneApp(a picloud.App) picloud.App {
	a.AllowedOrigins = slices.Clone(a.AllowedOrigins)
	return a
}
