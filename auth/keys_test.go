package auth_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
)

// noon is when the tests take place.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// keyring keeps keys as the contract of auth.Keys says, and lets a test put
// there what a store never would.
type keyring struct {
	mu      sync.Mutex
	api     map[string]picloud.APIKey
	signing map[string][]picloud.SigningKey
	topics  map[string][]string
	touched map[string]time.Time
}

func newKeyring() *keyring {
	return &keyring{
		api:     map[string]picloud.APIKey{},
		signing: map[string][]picloud.SigningKey{},
		topics:  map[string][]string{"shop": {"orders", "stock/a"}, "lab": {"orders"}},
		touched: map[string]time.Time{},
	}
}

func (k *keyring) APIKey(id string) (picloud.APIKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.api[id]
	return key, ok
}

func (k *keyring) CreateAPIKey(_ context.Context, key picloud.APIKey) (picloud.APIKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.api[key.ID] = key
	return key, nil
}

func (k *keyring) TouchAPIKey(id string, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.touched[id] = at
}

func (k *keyring) SigningKeys(app string) []picloud.SigningKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.signing[app]
}

func (k *keyring) EnsureSigningKey(_ context.Context, app string) (picloud.SigningKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if keys := k.signing[app]; len(keys) > 0 {
		return keys[0], nil
	}
	key := picloud.SigningKey{App: app, CreatedAt: noon}
	_, _ = rand.Read(key.Secret[:])
	key.ID = hex.EncodeToString(key.Secret[:4])
	k.signing[app] = []picloud.SigningKey{key}
	return key, nil
}

func (k *keyring) Topic(app, name string) (picloud.Topic, error) {
	if !slices.Contains(k.topics[app], name) {
		return picloud.Topic{}, picloud.ErrTopicNotFound
	}
	return picloud.Topic{App: app, Name: name}, nil
}

// clock is a clock that stands still until it is set.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newAuthority(tb testing.TB) (*auth.Authority, *keyring, *clock) {
	tb.Helper()
	keys, c := newKeyring(), &clock{at: noon}
	for _, app := range []string{"shop", "lab"} {
		if _, err := keys.EnsureSigningKey(tb.Context(), app); err != nil {
			tb.Fatal(err)
		}
	}
	return auth.New(auth.Config{Keys: keys, Now: c.now}), keys, c
}

func publisherOf(app string) picloud.Principal {
	return picloud.Principal{Kind: picloud.KindKey, Name: "k1", App: app, Scopes: []picloud.Scope{picloud.ScopeAppPublish}}
}
