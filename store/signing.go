package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tidwall/btree"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

const tableSigning table = 4 // app, zero byte, signing key id

var signingKeyKind = rowKind{
	name: "signing keys", catalog: inMemory[picloud.SigningKey],
	copied: copies[picloud.SigningKey]{
		as: picloud.ChangeSigningKey, check: checkedBy(checkSigningKey),
		to: func(_ *restorer, k picloud.SigningKey) ([]change, error) {
			return putOf(tableSigning, pair(k.App, k.ID), k), nil
		},
	},
}

func (c *catalog) signing() *btree.Map[string, picloud.SigningKey] {
	return rowsOf[picloud.SigningKey](c, tableSigning)
}

// checkSigningKey checks a key that was not made here. What other nodes have of an app
// comes from Postgres, too.
func checkSigningKey(k picloud.SigningKey) error {
	if !sane(k.CreatedAt) || !k.RetiresAt.IsZero() && !sane(k.RetiresAt) || k.Secret == [32]byte{} {
		return picloud.ErrKeyInvalid.Detailf("the secret or a time of the signing key %q is none", k.ID)
	}
	return errors.Join(check.AppName(k.App), check.Handle("signing key", k.ID))
}

// SigningKeys returns the signing keys of an app that are valid now, those of
// other nodes included: current ones first, then those of earlier rotations. It
// may be empty.
func (s *Store) SigningKeys(app string) []picloud.SigningKey {
	keys := s.shared.merge(app, under(s.catalog.Load().signing(), pair(app, "")))
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
	return ask(ctx, s, configOf(app), 0, func(tx *tx) (picloud.SigningKey, error) {
		if _, err := tx.catalog.app(app); err != nil {
			return picloud.SigningKey{}, err
		}
		for _, k := range tx.signingKeys(app) {
			if k.RetiresAt.IsZero() {
				return k, nil
			}
		}
		return tx.newKey(app, time.Time{}), nil
	})
}

// RotateSigningKey makes a new current signing key. The old ones, those of other
// nodes included, stay valid for overlap; 0 ends them, and the streams opened
// with them, at once. Other nodes learn it from the database they share.
func (s *Store) RotateSigningKey(ctx context.Context, app string, overlap time.Duration) (picloud.SigningKey, error) {
	return ask(ctx, s, configOf(app), 0, func(tx *tx) (picloud.SigningKey, error) {
		if _, err := tx.catalog.app(app); err != nil {
			return picloud.SigningKey{}, err
		}
		now := fromMicros(tx.g.now)
		end := now.Add(max(0, overlap)).Truncate(time.Microsecond)
		if n := tx.catalog.validKeys(app, now); overlap > 0 && n >= picloud.MaxSigningKeys {
			return picloud.SigningKey{}, picloud.ErrKeyInvalid.Detailf("the app has %d signing keys that have not ended, which is the limit; wait until the overlap of earlier rotations is over, or rotate with an overlap of 0", n)
		}
		for old := range each(tx.catalog.signing(), pair(app, "")) {
			switch {
			case retired(old, now):
				tx.remove(tableSigning, pair(app, old.ID))
			case old.RetiresAt.IsZero():
				old.RetiresAt = end
				tx.put(tableSigning, pair(app, old.ID), old)
			}
		}
		for _, old := range tx.signingKeys(app) {
			at := earlier(old.RetiresAt, end)
			if !at.After(now) {
				at = time.Time{}
			}
			tx.revoke(picloud.Revocation{App: app, SigningKey: old.ID, At: at})
		}
		return tx.newKey(app, end), nil
	})
}

// validKeys counts the signing keys of an app on this node that have not ended.
func (c *catalog) validKeys(app string, now time.Time) (n int) {
	for k := range each(c.signing(), pair(app, "")) {
		if !retired(k, now) {
			n++
		}
	}
	return n
}

// signingKeys returns all keys of an app, as the transaction sees them.
func (t *tx) signingKeys(app string) []picloud.SigningKey {
	return t.s.shared.merge(app, under(t.catalog.signing(), pair(app, "")))
}

func (t *tx) newKey(app string, endsOlder time.Time) picloud.SigningKey {
	k := picloud.SigningKey{ID: randomText(8), App: app, CreatedAt: fromMicros(t.at), EndsOlder: endsOlder}
	mustRead(k.Secret[:])
	t.put(tableSigning, pair(app, k.ID), k)
	return k
}

// earlier returns the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
