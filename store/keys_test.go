package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/store"
)

// SR-3: what an app's admin can make has a bound: API keys, signing keys and
// collections. An app whose keys may be known can be given another one in any case.
func TestKeysAndCollectionsHaveABound(t *testing.T) {
	t.Parallel()
	s := start(t, store.Config{Dir: t.TempDir()})
	ctx := t.Context()
	until := func(what string, limit int, want error, do func(i int) error) {
		t.Helper()
		for i := range limit {
			if err := do(i); err != nil {
				t.Fatalf("%s %d: %v", what, i, err)
			}
		}
		if err := do(limit); !errors.Is(err, want) {
			t.Errorf("%s %d: %v", what, limit, err)
		}
	}
	key := func(app string) func(i int) error {
		return func(i int) error {
			_, err := s.CreateAPIKey(ctx, picloud.APIKey{ID: fmt.Sprint(app, "-", i), App: app, Scopes: []picloud.Scope{picloud.ScopeAppRead}})
			return err
		}
	}
	until("key", picloud.MaxAPIKeys, picloud.ErrKeyInvalid, key("default"))
	if err := key("")(0); err != nil {
		t.Errorf("a key of the instance: %v", err)
	}
	until("collection", picloud.MaxCollections, picloud.ErrQueryInvalid, func(i int) error {
		_, err := s.SaveCollection(ctx, picloud.Collection{App: "default", Name: fmt.Sprint("c", i)})
		return err
	})
	until("signing key", picloud.MaxSigningKeys, picloud.ErrKeyInvalid, func(int) error {
		_, err := s.RotateSigningKey(ctx, "default", time.Hour)
		return err
	})
	for range 3 {
		if _, err := s.RotateSigningKey(ctx, "default", 0); err != nil {
			t.Errorf("a rotation that ends all: %v", err)
		}
	}
}
