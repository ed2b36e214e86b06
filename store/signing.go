package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/picloud/picloud"
)

// SigningKeys returns the signing keys of an app that are valid now: the
// current one first, then those of earlier rotations. It may be empty.
func (s *Store) SigningKeys(app string) []picloud.SigningKey {
	keys := under(s.catalog.Load().signing, pair(app, ""))
	now := s.cfg.Now()
	keys = slices.DeleteFunc(keys, func(k picloud.SigningKey) bool { return retired(k, now) })
	slices.SortFunc(keys, func(a, b picloud.SigningKey) int {
		if a.RetiresAt.IsZero() != b.RetiresAt.IsZero() {
			if a.RetiresAt.IsZero() {
				return -1
			}
			return 1
		}
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return keys
}

func retired(k picloud.SigningKey, now time.Time) bool {
	return !k.RetiresAt.IsZero() && !k.RetiresAt.After(now)
}

// EnsureSigningKey returns the current signing key of an app. It is made on
// first use; of two racing callers both get the same one.
func (s *Store) EnsureSigningKey(ctx context.Context, app string) (picloud.SigningKey, error) {
	if keys := s.SigningKeys(app); len(keys) > 0 && keys[0].RetiresAt.IsZero() {
		return keys[0], nil
	}
	var k picloud.SigningKey
	err := s.do(ctx, func(tx *tx) error {
		if _, err := tx.catalog.app(app); err != nil {
			return err
		}
		var ok bool
		if k, ok = tx.currentKey(app); !ok {
			k = tx.newKey(app)
		}
		return nil
	})
	return k, err
}

// RotateSigningKey makes a new current signing key. The old one stays valid for
// overlap; 0 ends it, and the streams opened with it, at once.
func (s *Store) RotateSigningKey(ctx context.Context, app string, overlap time.Duration) (picloud.SigningKey, error) {
	var k picloud.SigningKey
	err := s.do(ctx, func(tx *tx) error {
		if _, err := tx.catalog.app(app); err != nil {
			return err
		}
		now := fromMicros(tx.at)
		for _, old := range under(tx.catalog.signing, pair(app, "")) {
			if retired(old, now) {
				tx.remove(tableSigning, pair(app, old.ID))
			}
		}
		if old, ok := tx.currentKey(app); ok {
			old.RotatedAt, old.RetiresAt = now, now.Add(max(0, overlap)).Truncate(time.Microsecond)
			tx.put(tableSigning, pair(app, old.ID), old)
			end := picloud.Revocation{App: app, SigningKey: old.ID}
			if overlap > 0 {
				end.At = old.RetiresAt
			}
			tx.revoke(end)
		}
		k = tx.newKey(app)
		return nil
	})
	return k, err
}

func (t *tx) currentKey(app string) (picloud.SigningKey, bool) {
	for _, k := range under(t.catalog.signing, pair(app, "")) {
		if k.RetiresAt.IsZero() {
			return k, true
		}
	}
	return picloud.SigningKey{}, false
}

func (t *tx) newKey(app string) picloud.SigningKey {
	k := picloud.SigningKey{ID: randomText(8), App: app, CreatedAt: fromMicros(t.at)}
	mustRead(k.Secret[:])
	t.put(tableSigning, pair(app, k.ID), k)
	return k
}
