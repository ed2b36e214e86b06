package auth_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
)

func mint(tb testing.TB, a *auth.Authority, app string, topics ...string) auth.Token {
	tb.Helper()
	tok, err := a.Mint(tb.Context(), publisherOf(app), app, topics, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return tok
}

// TK-1: the form of a token is what other libraries expect.
func TestMintedTokenSaysWhatItAllows(t *testing.T) {
	t.Parallel()
	a, keys, _ := newAuthority(t)
	tok := mint(t, a, "shop", "orders", "stock/a")

	var header, payload map[string]any
	for i, into := range []*map[string]any{&header, &payload} {
		b, err := base64.RawURLEncoding.DecodeString(strings.Split(tok.Text, ".")[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	wantHeader := map[string]any{"alg": "HS256", "typ": "JWT", "kid": keys.signing["shop"][0].ID}
	if diff := cmp.Diff(wantHeader, header); diff != "" {
		t.Error(diff)
	}
	wantPayload := map[string]any{
		"app_id": "shop", "topics": []any{"orders", "stock/a"}, "sub": "key:k1",
		"iat": float64(noon.Unix()), "exp": float64(noon.Add(time.Hour).Unix()),
	}
	if diff := cmp.Diff(wantPayload, payload); diff != "" {
		t.Error(diff)
	}

	grant, err := a.VerifyToken("shop", []string{"stock/a"}, tok.Text)
	if err != nil {
		t.Fatal(err)
	}
	want := auth.TokenGrant{KeyID: keys.signing["shop"][0].ID, Expires: noon.Add(time.Hour), Subject: "key:k1"}
	if diff := cmp.Diff(want, grant); diff != "" {
		t.Error(diff)
	}
}

// TK-2: the life of a token is clamped to 10 s–24 h, one hour by default.
func TestMintClampsTheTTL(t *testing.T) {
	t.Parallel()
	a, _, c := newAuthority(t)
	c.at = noon.Add(700 * time.Millisecond)
	for ttl, want := range map[time.Duration]time.Duration{
		0: time.Hour, time.Nanosecond: 10 * time.Second, -time.Hour: 10 * time.Second,
		90*time.Second + time.Millisecond: 90 * time.Second, 25 * time.Hour: 24 * time.Hour, 1<<63 - 1: 24 * time.Hour,
	} {
		tok, err := a.Mint(t.Context(), publisherOf("shop"), "shop", []string{"orders"}, ttl)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.ExpiresAt.Sub(noon); got != want {
			t.Errorf("ttl %v lives %v, want %v", ttl, got, want)
		}
	}
}

// TK-2, AU-5: who may mint what.
func TestMintRefuses(t *testing.T) {
	t.Parallel()
	a, keys, _ := newAuthority(t)
	long := make([]string, 64)
	for i := range long {
		long[i] = fmt.Sprintf("%03d%s", i, strings.Repeat("x", 125))
	}
	keys.topics["shop"] = append(keys.topics["shop"], long...)
	reader := publisherOf("shop")
	reader.Scopes = []picloud.Scope{picloud.ScopeAppRead}

	for name, tc := range map[string]struct {
		by     picloud.Principal
		topics []string
		want   *picloud.Error
		says   string
	}{
		"anonymous":          {picloud.Principal{}, []string{"orders"}, picloud.ErrUnauthenticated, ""},
		"another app":        {publisherOf("lab"), []string{"orders"}, picloud.ErrAppNotFound, ""},
		"wrong scope":        {reader, []string{"orders"}, picloud.ErrForbidden, "app:publish"},
		"no topics":          {publisherOf("shop"), nil, picloud.ErrTokenRequestInvalid, "at least one"},
		"65 topics":          {publisherOf("shop"), slices.Repeat([]string{"orders"}, 65), picloud.ErrTokenRequestInvalid, "at most 64"},
		"twice":              {publisherOf("shop"), []string{"orders", "orders"}, picloud.ErrTokenRequestInvalid, "topics[1]"},
		"unregistered topic": {publisherOf("shop"), []string{"orders", "nope"}, picloud.ErrTokenRequestInvalid, "topics[1]: \"nope\" is not registered"},
		"topic of lab":       {publisherOf("shop"), []string{"labs"}, picloud.ErrTokenRequestInvalid, "register"},
		"pattern":            {publisherOf("shop"), []string{"*"}, picloud.ErrTokenRequestInvalid, "'*' is reserved"},
		"empty name":         {publisherOf("shop"), []string{""}, picloud.ErrTokenRequestInvalid, "empty"},
		"names too long":     {publisherOf("shop"), long, picloud.ErrTokenRequestInvalid, "several tokens"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tok, err := a.Mint(t.Context(), tc.by, "shop", tc.topics, 0)
			e := picloud.AsError(err)
			if !errors.Is(err, tc.want) || !strings.Contains(e.Detail, tc.says) {
				t.Errorf("err = %v, want %s that says %q", err, tc.want.Type, tc.says)
			}
			if tok.Text != "" {
				t.Error("a token was made")
			}
		})
	}
}

// TK-3: after a rotation the old key holds for its overlap, and no grant
// outlives the key it rests on.
func TestGrantEndsWithItsSigningKey(t *testing.T) {
	t.Parallel()
	a, keys, c := newAuthority(t)
	tok := mint(t, a, "shop", "orders")
	old := keys.signing["shop"][0]
	old.RetiresAt = noon.Add(20 * time.Minute)
	delete(keys.signing, "shop")
	current, err := keys.EnsureSigningKey(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	keys.signing["shop"] = []picloud.SigningKey{current, old}

	grant, err := a.VerifyToken("shop", []string{"orders"}, tok.Text)
	if err != nil {
		t.Fatal(err)
	}
	if !grant.Expires.Equal(old.RetiresAt) {
		t.Errorf("the grant ends at %v, want %v", grant.Expires, old.RetiresAt)
	}
	c.at = old.RetiresAt
	_, err = a.VerifyToken("shop", []string{"orders"}, tok.Text)
	checkRefusal(t, err, "token: its signing key has retired")

	keys.signing["shop"] = []picloud.SigningKey{current}
	_, err = a.VerifyToken("shop", []string{"orders"}, tok.Text)
	checkRefusal(t, err, "token: no valid signing key of this app has its kid")
	c.at = noon
	if _, err := a.VerifyToken("shop", []string{"orders"}, mint(t, a, "shop", "orders").Text); err != nil {
		t.Errorf("with the new key: %v", err)
	}
}

// TK-3: a key that is not known is asked for once, and not again for a while,
// whoever invents tokens.
func TestUnknownKeyIsAskedForOnce(t *testing.T) {
	t.Parallel()
	mint := newKeyring()
	minter := auth.New(auth.Config{Keys: mint, Now: func() time.Time { return noon }})
	token, err := minter.Mint(t.Context(), picloud.LocalOperator(), "shop", []string{"orders"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	here, now, asked := newKeyring(), noon, 0
	a := auth.New(auth.Config{Keys: here, Now: func() time.Time { return now }, Refresh: func() { asked++ }})
	verify := func() error {
		_, err := a.VerifyToken("shop", []string{"orders"}, token.Text)
		return err
	}
	for range 10 {
		if err := verify(); !errors.Is(err, picloud.ErrUnauthenticated) {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	now = now.Add(auth.RefreshEvery)
	a = auth.New(auth.Config{Keys: here, Now: func() time.Time { return now }, Refresh: func() {
		asked++
		here.signing["shop"] = mint.signing["shop"]
	}})
	if err := verify(); err != nil || asked != 2 {
		t.Errorf("asked %d times, then %v", asked, err)
	}
	if err := verify(); err != nil || asked != 2 {
		t.Errorf("asked %d times for a key that is known, %v", asked, err)
	}
}
