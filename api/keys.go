package api

import "time"

// Key is an API key without its secret.
type Key struct {
	ID         string   `json:"id"`
	Label      string   `json:"label"`
	App        *string  `json:"app"` // null: the whole instance
	Scopes     []string `json:"scopes"`
	CreatedAt  Time     `json:"created_at"`
	ExpiresAt  Time     `json:"expires_at"`
	LastUsedAt Time     `json:"last_used_at"`
}

// Keys is a list of API keys.
type Keys struct {
	Keys []Key `json:"keys"`
}

// NewKey creates an API key. It expires after TTLSec or at ExpiresAt; without
// either, never.
type NewKey struct {
	Label     string     `json:"label,omitempty"`
	App       string     `json:"app,omitempty"`
	Scopes    []string   `json:"scopes"`
	TTLSec    int64      `json:"ttl_sec,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// CreatedKey is a new API key with its text, which no later answer contains.
type CreatedKey struct {
	Key
	Text string `json:"key"`
}

// SigningKey is a signing key without its bytes.
type SigningKey struct {
	ID        string `json:"id"`
	CreatedAt Time   `json:"created_at"`
	RetiresAt Time   `json:"retires_at"`
	Current   bool   `json:"current"`
}

// SigningKeys is a list of signing keys, the current one first.
type SigningKeys struct {
	SigningKeys []SigningKey `json:"signing_keys"`
}

// Rotation replaces the current signing key. Older keys stay valid for OverlapSec.
type Rotation struct {
	OverlapSec *int64 `json:"overlap_sec,omitempty"`
}

// NewToken requests a subscriber token for topics.
type NewToken struct {
	Topics []string `json:"topics"`
	TTLSec int64    `json:"ttl_sec,omitempty"`
}

// Token is a subscriber token.
type Token struct {
	Token     string   `json:"token"`
	ExpiresAt Time     `json:"expires_at"`
	Topics    []string `json:"topics"`
}
