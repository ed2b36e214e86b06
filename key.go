package picloud

import (
	"log/slog"
	"time"
)

// APIKey is what a node keeps of an API key. The secret itself is shown once
// and never stored.
type APIKey struct {
	ID         string
	Label      string
	App        string // empty: the whole instance
	Scopes     []Scope
	Hash       [32]byte // SHA-256 of the secret, which has 256 random bits
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero: never
	LastUsedAt time.Time // zero: never; within a minute of the truth
}

// Limits of keys.
const (
	MaxLabel       = 128  // bytes of the label of an API key
	MaxAPIKeys     = 1000 // of one app, and of the instance
	MaxSigningKeys = 50   // of one app on one node that have not ended
)

// Principal returns who acts when k is shown.
func (k APIKey) Principal() Principal {
	return Principal{Kind: KindKey, Name: k.ID, App: k.App, Scopes: k.Scopes, Expires: k.ExpiresAt}
}

// LogValue keeps the hash out of logs.
func (k APIKey) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", k.ID), slog.String("app", k.App))
}

// SigningKey signs the subscriber tokens of one app. An app has one current key
// (RetiresAt zero) on each node and, after a rotation, older ones that are valid
// until they retire. Nodes that share a database know each other's.
type SigningKey struct {
	ID        string // the token's "kid"
	App       string
	Secret    [32]byte
	CreatedAt time.Time
	RetiresAt time.Time // zero: current
	EndsOlder time.Time // made by a rotation: when all older keys of the app end, those of other nodes included; zero: it was not
}

// LogValue keeps the secret out of logs.
func (k SigningKey) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", k.ID), slog.String("app", k.App))
}
