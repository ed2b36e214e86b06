package auth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

// MaxTokenTopics is how many topics one subscriber token may name. It is what
// one connection may subscribe to.
const MaxTokenTopics = 64

// Token is a freshly minted subscriber token.
type Token struct {
	Text      string // the compact JWS; a credential
	ExpiresAt time.Time
	Topics    []string
}

// Mint issues a subscriber token of app for by. The topics must be registered;
// whether they are external is judged at each subscription. A ttl of 0 is
// the default; any other is clamped to the configured bounds and cut to whole
// seconds, which is what a token can say.
//
// It returns picloud.ErrUnauthenticated for an anonymous caller,
// picloud.ErrAppNotFound for one who may not see the app, picloud.ErrForbidden
// for one without AppTokenMint, and picloud.ErrTokenRequestInvalid for topics
// that cannot be in a token.
func (a *Authority) Mint(ctx context.Context, by picloud.Principal, app string, topics []string, ttl time.Duration) (Token, error) {
	switch {
	case by.Kind == picloud.KindAnonymous:
		return Token{}, refuse("token: minting needs an identity", "")
	case !picloud.CanSee(by, app):
		return Token{}, picloud.ErrAppNotFound
	case !picloud.Can(by, picloud.AppTokenMint, app):
		return Token{}, picloud.ErrForbidden.Detailf("minting subscriber tokens needs the scope %s", picloud.ScopeOf(picloud.AppTokenMint))
	}
	if err := a.checkTopics(app, topics); err != nil {
		return Token{}, err
	}
	if !a.cfg.TimeKnown() {
		return Token{}, ErrClockUnknown // it would have ended once the time is known
	}
	key, err := a.cfg.Keys.EnsureSigningKey(ctx, app)
	if err != nil {
		return Token{}, err
	}
	issued := a.cfg.Now().UTC().Truncate(time.Second)
	expires := issued.Add(a.clamp(ttl))
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, &claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject:   by.Source(),
			IssuedAt:  jwt.NewNumericDate(issued),
			ExpiresAt: jwt.NewNumericDate(expires),
		},
		AppID:  app,
		Topics: topics,
	})
	t.Header["kid"] = key.ID
	text, err := t.SignedString(key.Secret[:])
	if err != nil {
		return Token{}, err
	}
	if len(text) > maxToken {
		return Token{}, picloud.ErrTokenRequestInvalid.Detailf("topics: their names are too long for one token of %d bytes; ask for several tokens", maxToken)
	}
	return Token{Text: text, ExpiresAt: expires, Topics: slices.Clone(topics)}, nil
}

// checkTopics returns nil when a token of app may name topics.
func (a *Authority) checkTopics(app string, topics []string) error {
	invalid := picloud.ErrTokenRequestInvalid
	switch n := len(topics); {
	case n == 0:
		return invalid.Detailf("topics: name at least one registered topic")
	case n > MaxTokenTopics:
		return invalid.Detailf("topics: %d are too many for one token; ask for at most %d, and for several tokens beyond that", n, MaxTokenTopics)
	}
	for i, name := range topics {
		if slices.Contains(topics[:i], name) {
			return invalid.Detailf("topics[%d]: named before; name each topic once", i)
		}
		if err := check.AnyTopicName(name); err != nil {
			return invalid.Detailf("topics[%d]: %s", i, picloud.AsError(err).Detail)
		}
		switch _, err := a.cfg.Keys.Topic(app, name); {
		case errors.Is(err, picloud.ErrTopicNotFound):
			return invalid.Detailf("topics[%d]: %q is not registered; register it first with POST /v1/apps/%s/topics", i, name, app)
		case err != nil:
			return err
		}
	}
	return nil
}

func (a *Authority) clamp(ttl time.Duration) time.Duration {
	if ttl == 0 {
		ttl = a.cfg.TTLDefault
	}
	return min(max(ttl, a.cfg.TTLMin), a.cfg.TTLMax).Truncate(time.Second)
}

// TokenGrant is what a verified subscriber token allows.
type TokenGrant struct {
	KeyID   string    // the signing key; when it is revoked, so is the grant
	Expires time.Time // when the token expires or its key retires, whichever is first
	Subject string    // who minted it, for the log
}

const (
	// maxToken is the longest token in bytes. 64 long topic names fill a
	// token sooner than their number does.
	maxToken = 4 << 10
	// futureIssue is how far ahead of the node's clock a token may have been
	// issued. A token from farther ahead means that the clock was set back
	// since, and that its expiry would hold for longer than was granted.
	futureIssue = time.Minute
)

// VerifyToken returns what token allows when it is a valid subscriber token of
// app that names every one of topics. Every failure is the same
// picloud.ErrUnauthenticated. While the time is unknown every token, a bad one included,
// is ErrClockUnknown: that must not tell which are good.
func (a *Authority) VerifyToken(app string, topics []string, token string) (TokenGrant, error) {
	if token != "" && !a.cfg.TimeKnown() {
		return TokenGrant{}, ErrClockUnknown
	}
	if !tokenShape(token) {
		return TokenGrant{}, refuse("token: not a compact JWS of at most 4 KiB", "")
	}
	var key picloud.SigningKey
	var c claims
	_, err := a.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		id, err := keyID(t)
		if err != nil {
			return nil, err
		}
		// Only keys of the app that is asked for: the first guard between apps.
		var ok bool
		key, ok = a.signingKey(app, id)
		if !ok && a.refresh() {
			key, ok = a.signingKey(app, id)
		}
		if !ok {
			return nil, errUnknownKey
		}
		return key.Secret[:], nil
	})
	now := a.cfg.Now()
	switch {
	case err != nil:
		return TokenGrant{}, refuse(reasonOf(err), key.ID)
	case c.AppID != app: // the second guard between apps
		return TokenGrant{}, refuse("token: for another app", key.ID)
	case c.IssuedAt == nil || c.IssuedAt.After(now.Add(futureIssue)):
		return TokenGrant{}, refuse("token: issued in the future, or at no stated time", key.ID)
	case !key.RetiresAt.IsZero() && !now.Before(key.RetiresAt):
		return TokenGrant{}, refuse("token: its signing key has retired", key.ID)
	case len(topics) == 0 || !c.covers(topics):
		return TokenGrant{}, refuse("token: does not name every topic asked for", key.ID)
	}
	grant := TokenGrant{KeyID: key.ID, Expires: c.ExpiresAt.UTC(), Subject: c.Subject}
	if !key.RetiresAt.IsZero() && key.RetiresAt.Before(grant.Expires) {
		grant.Expires = key.RetiresAt
	}
	return grant, nil
}

func (a *Authority) signingKey(app, id string) (picloud.SigningKey, bool) {
	keys := a.cfg.Keys.SigningKeys(app)
	i := slices.IndexFunc(keys, func(k picloud.SigningKey) bool { return k.ID == id })
	if i < 0 {
		return picloud.SigningKey{}, false
	}
	return keys[i], true
}

// tokenShape reports whether s can be a compact JWS at all. It keeps out what
// the base64 decoder would skip over: line breaks.
func tokenShape(s string) bool {
	if len(s) > maxToken || strings.Count(s, ".") != 2 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// reasonOf gives err a constant text: what jwt reports may quote the token.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return "token: malformed"
	case errors.Is(err, errHeader):
		return "token: header not acceptable"
	case errors.Is(err, errUnknownKey):
		return "token: no valid signing key of this app has its kid"
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return "token: bad signature or algorithm"
	case errors.Is(err, jwt.ErrTokenExpired):
		return "token: expired"
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return "token: not valid yet"
	}
	return "token: not acceptable"
}
