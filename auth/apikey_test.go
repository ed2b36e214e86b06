package auth_test

import (
	"crypto/sha256"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
)

func issue(tb testing.TB, a *auth.Authority, draft picloud.APIKey) (picloud.APIKey, string) {
	tb.Helper()
	k, text, err := a.IssueKey(tb.Context(), draft)
	if err != nil {
		tb.Fatal(err)
	}
	return k, text
}

// AU-2: a key is shown once, stored as a hash, and carries scopes, app and
// label.
func TestIssuedKeyAuthenticates(t *testing.T) {
	t.Parallel()
	a, keys, _ := newAuthority(t)
	k, text := issue(t, a, picloud.APIKey{Label: "sensor", App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppPublish}})

	if !regexp.MustCompile(`^pck_[a-z2-7]{10}_[a-z2-7]{52}$`).MatchString(text) {
		t.Errorf("the form of the key is not pck_<id>_<secret>")
	}
	if !auth.IsAPIKey(text) {
		t.Error("IsAPIKey is false for a key")
	}
	secret := text[len("pck_")+11:]
	if stored, _ := keys.APIKey(k.ID); stored.Hash != sha256.Sum256([]byte(secret)) {
		t.Error("what is stored is not the hash of the secret")
	}
	p, err := a.Authenticate(text)
	if err != nil {
		t.Fatal(err)
	}
	want := picloud.Principal{Kind: picloud.KindKey, Name: k.ID, App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppPublish}}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
	if !keys.touched[k.ID].Equal(noon) {
		t.Error("the use of the key was not noted")
	}
	if _, second := issue(t, a, picloud.APIKey{Scopes: k.Scopes}); second[15:] == text[15:] {
		t.Error("two keys share a secret")
	}
}

// AU-6: one 401 for every failure; only the log learns more. No failure counts
// as a use of the key.
func TestAuthenticateRefusesAlike(t *testing.T) { //nolint:tparallel // the clock moves on after the subtests
	t.Parallel()
	a, keys, c := newAuthority(t)
	k, text := issue(t, a, picloud.APIKey{App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppRead}, ExpiresAt: noon.Add(time.Hour)})
	_, other := issue(t, a, picloud.APIKey{App: "lab", Scopes: []picloud.Scope{picloud.ScopeAppRead}})
	c.at = noon.Add(time.Minute)

	for name, tc := range map[string]struct{ bearer, reason string }{
		"empty":                 {"", "api key: malformed"},
		"prefix only":           {"pck_", "api key: malformed"},
		"no prefix":             {text[4:], "api key: malformed"},
		"upper case":            {strings.ToUpper(text), "api key: malformed"},
		"too short":             {text[:len(text)-1], "api key: malformed"},
		"too long":              {text + "a", "api key: malformed"},
		"trailing space":        {text[:len(text)-1] + " ", "api key: wrong secret"},
		"megabyte":              {"pck_" + strings.Repeat("a", 1<<20), "api key: malformed"},
		"separator moved":       {text[:13] + "_" + text[13:14] + text[15:], "api key: malformed"},
		"unknown id":            {"pck_aaaaaaaaaa" + text[14:], "api key: unknown or revoked"},
		"secret of another key": {text[:15] + other[15:], "api key: wrong secret"},
		"zero hash":             {"pck_aaaaaaaaaa_" + strings.Repeat("\x00", 52), "api key: unknown or revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := a.Authenticate(tc.bearer)
			checkRefusal(t, err, tc.reason)
			if p.Kind != picloud.KindAnonymous || len(p.Scopes) != 0 {
				t.Errorf("a refused caller is %v", p)
			}
			if len(text) > 20 && strings.Contains(err.Error(), text[15:]) {
				t.Error("the error holds the secret")
			}
		})
	}
	if len(keys.touched) != 0 {
		t.Errorf("refused attempts were noted as use: %v", keys.touched)
	}

	c.at = noon.Add(time.Hour)
	_, err := a.Authenticate(text)
	checkRefusal(t, err, "api key: expired")
	c.at = noon.Add(time.Hour - 1)
	if _, err := a.Authenticate(text); err != nil {
		t.Errorf("just before its expiry: %v", err)
	}
	delete(keys.api, k.ID)
	_, err = a.Authenticate(text)
	checkRefusal(t, err, "api key: unknown or revoked")
}

// checkRefusal checks that err is ErrUnauthenticated itself on the wire and
// reason in the log.
func checkRefusal(t *testing.T, err error, reason string) {
	t.Helper()
	if picloud.AsError(err) != picloud.ErrUnauthenticated {
		t.Fatalf("public error = %v, want ErrUnauthenticated itself", err)
	}
	var r *auth.RefusedError
	if !errors.As(err, &r) || r.Reason != reason {
		t.Errorf("reason = %v, want %q", err, reason)
	}
}

func TestEveryFlippedBitOfAKeyIsRefused(t *testing.T) {
	t.Parallel()
	a, _, _ := newAuthority(t)
	_, text := issue(t, a, picloud.APIKey{Scopes: []picloud.Scope{picloud.ScopeInstanceAdmin}})
	for i := range len(text) {
		for bit := range 8 {
			b := []byte(text)
			b[i] ^= 1 << bit
			if _, err := a.Authenticate(string(b)); err == nil {
				t.Fatalf("accepted with bit %d of byte %d flipped", bit, i)
			}
		}
	}
}

func TestIssueKeyRefusesBadDrafts(t *testing.T) {
	t.Parallel()
	a, keys, _ := newAuthority(t)
	for name, draft := range map[string]picloud.APIKey{
		"no scopes":                {},
		"unknown scope":            {Scopes: []picloud.Scope{"app:everything"}},
		"instance scope in an app": {App: "shop", Scopes: []picloud.Scope{picloud.ScopeInstanceAdmin}},
		"expired already":          {Scopes: []picloud.Scope{picloud.ScopeAppRead}, ExpiresAt: noon},
		"label too long":           {Scopes: []picloud.Scope{picloud.ScopeAppRead}, Label: strings.Repeat("x", 129)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, text, err := a.IssueKey(t.Context(), draft)
			if e := picloud.AsError(err); e == nil || e.Type != picloud.ErrKeyInvalid.Type || e.Detail == "" {
				t.Errorf("err = %v, want ErrKeyInvalid with a detail", err)
			}
			if text != "" || len(keys.api) != 0 {
				t.Error("a key was made")
			}
		})
	}
}

func FuzzAuthenticate(f *testing.F) {
	a, _, _ := newAuthority(f)
	_, text := issue(f, a, picloud.APIKey{Scopes: []picloud.Scope{picloud.ScopeAppRead}})
	for _, seed := range []string{"", "pck_", text, text[:40], "pck_aaaaaaaaaa_" + strings.Repeat("a", 52), "Bearer " + text, "pck__________________"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, bearer string) {
		p, err := a.Authenticate(bearer)
		if (err == nil) != (bearer == text) {
			t.Fatalf("accepted = %v for %q", err == nil, bearer)
		}
		if err != nil && (picloud.AsError(err) != picloud.ErrUnauthenticated || p.Kind != picloud.KindAnonymous) {
			t.Fatalf("refused with %v as %v", err, p)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	a, _, _ := newAuthority(b)
	_, text := issue(b, a, picloud.APIKey{Scopes: []picloud.Scope{picloud.ScopeAppRead}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(text); err != nil {
			b.Fatal(err)
		}
	}
}
