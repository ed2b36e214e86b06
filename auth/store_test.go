package auth_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
	"github.com/picloud/picloud/store"
)

// openStore returns a running store with the apps default, shop and lab, each
// with a topic orders.
func openStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(store.Config{Dir: t.TempDir(), NodeName: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	})
	for _, app := range []string{"shop", "lab"} {
		if _, err := s.CreateApp(ctx, picloud.App{Name: app}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateTopic(ctx, picloud.Topic{App: app, Name: "orders"}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// AU-2: create and revoke take effect at once.
func TestKeyOfTheStoreLivesUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	a := auth.New(auth.Config{Keys: s})
	k, text := issue(t, a, picloud.APIKey{App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppPublish}})
	if _, err := a.Authenticate(text); err != nil {
		t.Fatal(err)
	}
	if used := s.APIKeys()[0].LastUsedAt; used.IsZero() {
		t.Error("the use was not noted")
	}
	if err := s.RevokeAPIKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	_, err := a.Authenticate(text)
	checkRefusal(t, err, "api key: unknown or revoked")
	if _, _, err := a.IssueKey(t.Context(), picloud.APIKey{App: "nope", Scopes: k.Scopes}); !errors.Is(err, picloud.ErrAppNotFound) {
		t.Errorf("a key for an app that does not exist: %v", err)
	}
}

// TK-1, TK-3: racing first mints end with one signing key, and a rotation keeps
// old tokens for its overlap or ends them at once.
func TestRotationDecidesAboutOldTokens(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	a := auth.New(auth.Config{Keys: s})
	orders := []string{"orders"}

	var racers sync.WaitGroup
	tokens := make([]auth.Token, 8)
	for i := range tokens {
		racers.Go(func() { tokens[i], _ = a.Mint(t.Context(), publisherOf("shop"), "shop", orders, time.Hour) })
	}
	racers.Wait()
	if n := len(s.SigningKeys("shop")); n != 1 {
		t.Fatalf("%d signing keys after a race, want 1", n)
	}
	for _, tok := range tokens {
		if _, err := a.VerifyToken("shop", orders, tok.Text); err != nil {
			t.Fatal(err)
		}
		if _, err := a.VerifyToken("lab", orders, tok.Text); err == nil {
			t.Fatal("accepted in another app")
		}
	}

	if _, err := s.RotateSigningKey(t.Context(), "shop", time.Minute); err != nil {
		t.Fatal(err)
	}
	grant, err := a.VerifyToken("shop", orders, tokens[0].Text)
	if err != nil {
		t.Fatalf("within the overlap: %v", err)
	}
	if left := time.Until(grant.Expires); left > time.Minute {
		t.Errorf("the grant outlives its key: %v left", left)
	}
	young, err := a.Mint(t.Context(), publisherOf("shop"), "shop", orders, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.RotateSigningKey(t.Context(), "shop", 0); err != nil {
		t.Fatal(err)
	}
	_, err = a.VerifyToken("shop", orders, young.Text)
	checkRefusal(t, err, "token: no valid signing key of this app has its kid")
}
