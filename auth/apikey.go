package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

// An API key reads pck_<id>_<secret>, both parts in lower-case base32, which
// has no '_' and survives being read aloud.
const (
	keyPrefix = "pck_"
	idLen     = 10 // 50 bits
	secretLen = 52 // 256 bits
	keyLen    = len(keyPrefix) + idLen + 1 + secretLen
)

var keyEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// IsAPIKey reports whether bearer claims to be an API key, well formed or not.
func IsAPIKey(bearer string) bool { return strings.HasPrefix(bearer, keyPrefix) }

// Authenticate returns the principal of an API key. Every failure, a malformed
// key and an unknown id included, is the same picloud.ErrUnauthenticated after
// the same work. A good key that expires is ErrClockUnknown while the time is unknown.
func (a *Authority) Authenticate(bearer string) (picloud.Principal, error) {
	id, secret, wellFormed := splitKey(bearer)
	k, known := a.cfg.Keys.APIKey(id)
	// An unknown key is compared with the zero hash, which no secret has.
	sum := sha256.Sum256([]byte(secret))
	same := subtle.ConstantTimeCompare(sum[:], k.Hash[:]) == 1
	now := a.cfg.Now()
	switch {
	case !wellFormed:
		return picloud.Principal{}, refuse("api key: malformed", "")
	case !known:
		return picloud.Principal{}, refuse("api key: unknown or revoked", "")
	case !same:
		return picloud.Principal{}, refuse("api key: wrong secret", id)
	case !k.ExpiresAt.IsZero() && !a.cfg.TimeKnown():
		return picloud.Principal{}, ErrClockUnknown
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return picloud.Principal{}, refuse("api key: expired", id)
	}
	a.cfg.Keys.TouchAPIKey(id, now)
	return k.Principal(), nil
}

// splitKey returns the parts of a well-formed key, otherwise stand-ins of the
// same length.
func splitKey(bearer string) (id, secret string, ok bool) {
	const none = "0000000000000000000000000000000000000000000000000000"
	if len(bearer) != keyLen || !IsAPIKey(bearer) || bearer[len(keyPrefix)+idLen] != '_' {
		return none[:idLen], none, false
	}
	return bearer[len(keyPrefix) : len(keyPrefix)+idLen], bearer[keyLen-secretLen:], true
}

// IssueKey completes draft with an id and the hash of a new secret, stores it
// and returns it with its text, which exists nowhere else: show it once. Label,
// App, Scopes and ExpiresAt come from the draft; a fault in them is a public
// error.
//
// It does not check rights: its caller must not hand out scopes that the
// requester lacks.
func (a *Authority) IssueKey(ctx context.Context, draft picloud.APIKey) (picloud.APIKey, string, error) {
	if err := check.APIKey(draft); err != nil {
		return picloud.APIKey{}, "", err
	}
	if !draft.ExpiresAt.IsZero() && !a.cfg.TimeKnown() {
		return picloud.APIKey{}, "", ErrClockUnknown
	}
	if !draft.ExpiresAt.IsZero() && !draft.ExpiresAt.After(a.cfg.Now()) {
		return picloud.APIKey{}, "", picloud.ErrKeyInvalid.Detailf("expires_at: give a time in the future, or leave it out for a key that does not expire")
	}
	id := randomText(idLen)
	for _, taken := a.cfg.Keys.APIKey(id); taken; _, taken = a.cfg.Keys.APIKey(id) {
		id = randomText(idLen)
	}
	secret := randomText(secretLen)
	draft.ID = id
	draft.Hash = sha256.Sum256([]byte(secret))
	draft.CreatedAt = a.cfg.Now().UTC()
	if !draft.ExpiresAt.IsZero() {
		draft.ExpiresAt = draft.ExpiresAt.UTC()
	}
	draft.LastUsedAt = time.Time{}
	k, err := a.cfg.Keys.CreateAPIKey(ctx, draft)
	if err != nil {
		return picloud.APIKey{}, "", err
	}
	return k, keyPrefix + id + "_" + secret, nil
}

// randomText returns n characters of base32, each with five random bits but
// that the last one rounds up to whole bytes.
func randomText(n int) string {
	b := make([]byte, (n*5+7)/8)
	_, _ = rand.Read(b) // never fails: it ends the process instead
	return keyEncoding.EncodeToString(b)[:n]
}
