package store

import (
	"context"
	"slices"

	"github.com/picloud/picloud"
)

// Apps returns all apps, sorted by name.
func (s *Store) Apps() []picloud.App {
	rows := under(s.catalog.Load().apps, "")
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

// CreateApp creates an app. An app that was deleted under the same name stays
// invisible: the new one's history begins where the old one's ended.
func (s *Store) CreateApp(ctx context.Context, a picloud.App) (picloud.App, error) {
	if err := a.Validate(); err != nil {
		return picloud.App{}, err
	}
	a = cloneApp(a)
	return ask(ctx, s, 0, func(tx *tx) (picloud.App, error) { return tx.createApp(a) })
}

func (t *tx) createApp(a picloud.App) (picloud.App, error) {
	if _, err := t.catalog.app(a.Name); err == nil {
		return a, picloud.ErrAppExists.Detailf("%q exists; choose another name, or change it with PATCH", a.Name)
	}
	a.CreatedAt = fromMicros(t.at)
	a.UpdatedAt = a.CreatedAt
	t.put(tableApp, a.Name, appRow{App: a, Born: t.s.sequenceOf(a.Name).last})
	return a, nil
}

// UpdateApp changes an app.
func (s *Store) UpdateApp(ctx context.Context, name string, p picloud.AppPatch) (picloud.App, error) {
	return ask(ctx, s, 0, func(tx *tx) (picloud.App, error) {
		row, err := tx.catalog.app(name)
		if err != nil {
			return picloud.App{}, err
		}
		a := p.Apply(row.App)
		if err := a.Validate(); err != nil {
			return a, err
		}
		a.UpdatedAt = fromMicros(tx.at)
		tx.put(tableApp, name, appRow{App: a, Born: row.Born})
		return cloneApp(a), nil
	})
}

// deleteChunk bounds the rows that go in one commit.
const deleteChunk = 2000

// DeleteApp deletes an app with its topics, keys and history. Live streams end.
func (s *Store) DeleteApp(ctx context.Context, name string) error {
	if name == picloud.DefaultApp {
		return picloud.ErrAppProtected
	}
	return s.untilDone(ctx, func(tx *tx) (bool, error) { return tx.deleteApp(name) })
}

// deleteApp removes the app's rows, the app's own last. With more rows than fit
// into one commit, more is true: the rest goes by calling again.
func (t *tx) deleteApp(name string) (more bool, err error) {
	if _, err := t.catalog.app(name); err != nil {
		return false, err
	}
	rows := t.rowsOf(name)
	size := 0
	for n := 0; len(rows) > 0 && n < deleteChunk && size < t.s.chunk(); n++ {
		r := rows[0]
		rows = rows[1:]
		size += recordCost + len(r.key)
		t.remove(r.table, string(r.key))
		if r.table == tableKey {
			t.revoke(picloud.Revocation{App: name, APIKey: string(r.key)})
		}
	}
	if len(rows) > 0 || t.g.holdsData(name) {
		return true, nil
	}
	t.remove(tableApp, name)
	t.revoke(picloud.Revocation{App: name})
	return false, nil
}

// rowsOf lists the rows that belong to an app, of its data a part.
func (t *tx) rowsOf(app string) []change {
	prefix := pair(app, "")
	var rows []change
	add := func(tb table, key string) { rows = append(rows, change{table: tb, key: []byte(key)}) }
	for tr := range each(t.catalog.triggers, prefix) { // first: nothing more is owed
		add(tableTrigger, pair(app, tr.Name))
	}
	for e := range each(t.catalog.endpoints, prefix) {
		add(tableEndpoint, pair(app, e.Name))
	}
	for topic := range each(t.catalog.topics, prefix) {
		add(tableTopic, pair(app, topic.Name))
	}
	for k := range each(t.catalog.signing, prefix) {
		add(tableSigning, pair(app, k.ID))
	}
	t.catalog.floors.Ascend(prefix, func(k string, _ uint64) bool {
		if len(k) < len(prefix) || k[:len(prefix)] != prefix {
			return false
		}
		add(tableFloor, k)
		return true
	})
	t.catalog.keys.Scan(func(id string, k picloud.APIKey) bool {
		if k.App == app {
			add(tableKey, id)
		}
		return true
	})
	for _, tb := range dataTables {
		if len(rows) <= deleteChunk {
			t.s.tables.scan(tb, prefix, "", func(key string, _ []byte) bool {
				add(tb, key)
				return len(rows) <= deleteChunk
			})
		}
	}
	if len(rows) <= deleteChunk { // last: what they say about indexes goes with the documents
		for r := range each(t.catalog.collections, prefix) {
			add(tableCollection, pair(app, r.Collection.Name))
		}
	}
	return rows
}

func cloneApp(a picloud.App) picloud.App {
	a.AllowedOrigins = slices.Clone(a.AllowedOrigins)
	return a
}
