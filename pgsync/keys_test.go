package pgsync_test

import (
	"slices"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/dispatch"
	"github.com/picloud/picloud/pgsync"
	"github.com/picloud/picloud/pgsync/pgtest"
)

// TK-1, TK-3: nodes of one database know each other's keys of the apps they
// share, and a rotation on one ends the keys of all, whatever their clocks say.
func TestNodesShareSigningKeys(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	fast := func(_ *pgsync.Config, dc *dispatch.Config) { dc.TickEvery = 20 * time.Millisecond }
	a, b := start(t, t.TempDir(), url, fast), start(t, t.TempDir(), url, fast)
	ensure := func(n *node) picloud.SigningKey {
		t.Helper()
		k, err := n.EnsureSigningKey(t.Context(), "default")
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	ka, kb := ensure(a), ensure(b)
	if _, err := a.CreateApp(t.Context(), picloud.App{Name: "private"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.EnsureSigningKey(t.Context(), "private"); err != nil {
		t.Fatal(err)
	}
	valid := func(n *node, keys ...picloud.SigningKey) func(dispatch.Status) bool {
		return func(dispatch.Status) bool {
			got := n.SigningKeys("default")
			return len(got) == len(keys) && !slices.ContainsFunc(keys, func(k picloud.SigningKey) bool {
				return !slices.ContainsFunc(got, func(g picloud.SigningKey) bool { return g.ID == k.ID && g.Secret == k.Secret })
			})
		}
	}
	a.until(t, "a knows b's key", valid(a, ka, kb))
	b.until(t, "b knows a's key", valid(b, ka, kb))
	if keys := b.SigningKeys("private"); keys != nil {
		t.Errorf("b has keys of an app it does not have: %v", keys)
	}
	fresh, err := a.RotateSigningKey(t.Context(), "default", 0)
	if err != nil {
		t.Fatal(err)
	}
	a.until(t, "on a only the new key is valid", valid(a, fresh))
	b.until(t, "on b only the new key is valid", valid(b, fresh))
	if k := ensure(b); k.ID != fresh.ID {
		t.Errorf("b signs with %s", k.ID)
	}
	same(t, pgtest.Query(t, url, "SELECT key_id FROM picloud.app_secrets WHERE app = 'default' AND retires_at IS NULL"), []string{fresh.ID})
	a.stop()
	b.stop()
}
