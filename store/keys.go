package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

const tableKey table = 3 // API key id

var apiKeyKind = rowKind{
	name: "API keys", catalog: inMemory[picloud.APIKey], node: true,
	ofApp: (*catalog).keysOf,
	staged: func(t *tx, ch change) {
		if k, ok := t.catalog.keys().Get(string(ch.key)); ok && ch.value == nil {
			t.revoke(picloud.Revocation{App: k.App, APIKey: k.ID})
		}
	},
	refers: func(s *Store, ch change, _ int64) error {
		k, err := decodeAs[picloud.APIKey](ch.value)
		if err == nil && k.App != "" {
			_, err = s.catalog.Load().app(k.App)
		}
		return err
	},
	copied: copies[picloud.APIKey]{
		as:     picloud.ChangeAPIKey,
		former: func(k *picloud.APIKey) { k.Label = withoutControls(k.Label) },
		check: checkedBy(func(k picloud.APIKey) error {
			return errors.Join(check.Handle("key", k.ID), check.APIKey(k))
		}),
		to: func(_ *restorer, k picloud.APIKey) ([]change, error) { return putOf(tableKey, k.ID, k), nil },
	},
}

func (c *catalog) keys() *btree.Map[string, picloud.APIKey] {
	return rowsOf[picloud.APIKey](c, tableKey)
}

// keysOf returns the ids of the keys of an app; of the instance for the empty name.
func (c *catalog) keysOf(app string) (ids []string) {
	c.keys().Scan(func(id string, k picloud.APIKey) bool {
		if k.App == app {
			ids = append(ids, id)
		}
		return true
	})
	return ids
}

// APIKeys returns all API keys, sorted by id.
func (s *Store) APIKeys() []picloud.APIKey {
	keys := under(s.catalog.Load().keys(), "")
	for i := range keys {
		keys[i] = s.keyUse.latest(keys[i])
	}
	return keys
}

// APIKey finds an API key by its id.
func (s *Store) APIKey(id string) (picloud.APIKey, bool) {
	return s.catalog.Load().keys().Get(id)
}

// CreateAPIKey stores an API key. Its app, when it has one, must exist.
func (s *Store) CreateAPIKey(ctx context.Context, k picloud.APIKey) (picloud.APIKey, error) {
	if err := check.APIKey(k); err != nil {
		return picloud.APIKey{}, err
	}
	k.Scopes = slices.Clone(k.Scopes)
	return ask(ctx, s, configOf(k.App), 0, func(tx *tx) (picloud.APIKey, error) {
		if k.App != "" {
			if _, err := tx.catalog.app(k.App); err != nil {
				return k, err
			}
		}
		if _, taken := tx.catalog.keys().Get(k.ID); taken || k.ID == "" {
			return k, picloud.ErrKeyInvalid.Detailf("the id is empty or taken; create the key again")
		}
		if len(tx.catalog.keysOf(k.App)) >= picloud.MaxAPIKeys {
			return k, picloud.ErrKeyInvalid.Detailf("there are %d keys of its app, which is the limit; revoke some first", picloud.MaxAPIKeys)
		}
		k.CreatedAt = fromMicros(tx.at)
		tx.put(tableKey, k.ID, k)
		return k, nil
	})
}

// RevokeAPIKey ends an API key and the live streams that were opened with it.
func (s *Store) RevokeAPIKey(ctx context.Context, id string) error {
	return s.do(ctx, "", func(tx *tx) error {
		if _, ok := tx.catalog.keys().Get(id); !ok {
			return picloud.ErrKeyNotFound
		}
		tx.remove(tableKey, id)
		return nil
	})
}

// TouchAPIKey notes that a key was used. It never blocks on the disk: the note
// reaches the journal with a later commit, and losing it loses nothing else.
func (s *Store) TouchAPIKey(id string, at time.Time) { s.keyUse.touch(id, at) }

// keyUse holds when keys were last used, as far as the journal does not know.
type keyUse struct {
	mu     sync.Mutex
	used   map[string]time.Time
	staged time.Time // when the committer last took them along
}

// useEvery is how exact last-used times are.
const useEvery = time.Minute

func (u *keyUse) touch(id string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.used == nil {
		u.used = map[string]time.Time{}
	}
	u.used[id] = at.UTC().Truncate(time.Microsecond)
}

func (u *keyUse) latest(k picloud.APIKey) picloud.APIKey {
	u.mu.Lock()
	defer u.mu.Unlock()
	if at, ok := u.used[k.ID]; ok && at.After(k.LastUsedAt) {
		k.LastUsedAt = at
	}
	return k
}

// stage adds the notes to a group that is going to be written anyway, so that
// an idle node stays silent.
func (u *keyUse) stage(s *Store, g *group) {
	now := fromMicros(g.at)
	if len(g.records) == 0 || now.Sub(u.staged).Abs() < useEvery {
		return
	}
	u.stageAll(s, g)
}

// stageAll adds the notes whatever time it is.
func (u *keyUse) stageAll(s *Store, g *group) {
	u.mu.Lock()
	used := maps.Clone(u.used)
	u.mu.Unlock()
	if len(used) == 0 {
		return
	}
	u.staged = fromMicros(g.at)
	_ = s.stageChanges(g, func(tx *tx) error { // stages rows that were decoded before: cannot fail
		for id, at := range used {
			k, ok := tx.catalog.keys().Get(id)
			if ok && at.Sub(k.LastUsedAt) >= useEvery && len(tx.changes) < deleteChunk {
				k.LastUsedAt = at
				tx.put(tableKey, id, k)
			}
		}
		return nil
	})
	u.forget(used)
}

// forget drops the notes that were taken along, unless newer ones came.
func (u *keyUse) forget(staged map[string]time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, at := range staged {
		if u.used[id].Equal(at) {
			delete(u.used, id)
		}
	}
}
