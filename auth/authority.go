package auth

import (
	"context"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/picloud/picloud"
)

// ErrClockUnknown refuses what ends at a time while the time is unknown. What does not
// end is judged all the same.
var ErrClockUnknown = &picloud.Error{
	Code: picloud.CodeUnavailable, Type: "clock-unknown", Title: "The node does not know the time",
	Detail:     "Tokens, and keys that expire, cannot be judged yet. Let the board reach a time server, and repeat the request; where there is none set its clock, and 'clock = \"trusted\"' in its configuration.",
	RetryAfter: 30 * time.Second,
}

// Keys is where keys are kept; *store.Store implements it.
type Keys interface {
	APIKey(id string) (picloud.APIKey, bool)
	CreateAPIKey(ctx context.Context, k picloud.APIKey) (picloud.APIKey, error)
	TouchAPIKey(id string, at time.Time)
	SigningKeys(app string) []picloud.SigningKey
	EnsureSigningKey(ctx context.Context, app string) (picloud.SigningKey, error)
	Topic(app, name string) (picloud.Topic, error)
}

// Defaults of Config.
const (
	DefaultTTLMin = 10 * time.Second
	DefaultTTLMax = 24 * time.Hour
	DefaultTTL    = time.Hour
)

// Config configures an Authority.
type Config struct {
	Keys       Keys
	TTLMin     time.Duration    // shortest life of a subscriber token; 0: 10 s
	TTLMax     time.Duration    // longest life of a subscriber token; 0: 24 h
	TTLDefault time.Duration    // its life when none is asked for; 0: 1 h
	Now        func() time.Time // nil: time.Now
	TimeKnown  func() bool      // whether Now can be believed; nil: always

	// Refresh brings the signing keys of other nodes up to date, and takes a
	// second at most. It is called when a token names a key that is not known,
	// at most once in RefreshEvery. nil: there are no other nodes.
	Refresh func()
}

// RefreshEvery is how often a key that is not known is asked for:
// invented tokens must not keep the node busy.
const RefreshEvery = 5 * time.Second

// Authority authenticates callers, and issues keys and tokens. Its methods may be
// called concurrently.
type Authority struct {
	cfg    Config
	parser *jwt.Parser

	mu        sync.Mutex // guards what follows
	refreshed time.Time
}

// refresh asks for keys of other nodes, and reports whether it did.
func (a *Authority) refresh() bool {
	if a.cfg.Refresh == nil {
		return false
	}
	a.mu.Lock()
	now := a.cfg.Now()
	due := now.Sub(a.refreshed).Abs() >= RefreshEvery
	if due {
		a.refreshed = now
	}
	a.mu.Unlock()
	if due {
		a.cfg.Refresh()
	}
	return due
}

// New returns an Authority over cfg.Keys.
func New(cfg Config) *Authority {
	if cfg.TTLMin == 0 {
		cfg.TTLMin = DefaultTTLMin
	}
	if cfg.TTLMax == 0 {
		cfg.TTLMax = DefaultTTLMax
	}
	if cfg.TTLDefault == 0 {
		cfg.TTLDefault = DefaultTTL
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.TimeKnown == nil {
		cfg.TimeKnown = func() bool { return true }
	}
	return &Authority{
		cfg: cfg,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
			jwt.WithExpirationRequired(),
			jwt.WithStrictDecoding(),
			jwt.WithTimeFunc(cfg.Now),
		),
	}
}

// RefusedError is why an authentication was refused. It is for the log: the
// public error in its chain is picloud.ErrUnauthenticated, whatever the reason.
// It holds no part of what was sent but the id of a key that exists.
type RefusedError struct {
	Reason string // a constant text of this package, such as "token: expired"
	KeyID  string // the API key or signing key concerned, when it is known
}

// Error returns the reason.
func (e *RefusedError) Error() string { return "authentication refused: " + e.Reason }

// Unwrap returns picloud.ErrUnauthenticated.
func (e *RefusedError) Unwrap() error { return picloud.ErrUnauthenticated }

func refuse(reason, keyID string) error { return &RefusedError{Reason: reason, KeyID: keyID} }
