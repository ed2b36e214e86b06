package httpapi

import (
	"encoding/json"
	"time"

	"github.com/picloud/picloud"
)

// The bodies of requests and responses. Programs in Go that talk to a node use
// them too. Times are in picloud.TimeLayout; null where there is none.

// Time is written in picloud.TimeLayout; the zero time is null.
type Time struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.UTC().Format(picloud.TimeLayout) + `"`), nil
}

// App is an app.
type App struct {
	Name           string   `json:"name"`
	Description    string   `json:"description"`
	AllowedOrigins []string `json:"allowed_origins"`
	CreatedAt      Time     `json:"created_at"`
	UpdatedAt      Time     `json:"updated_at"`
}

// Apps is a list of apps.
type Apps struct {
	Apps []App `json:"apps"`
}

// NewApp asks for an app.
type NewApp struct {
	Name           string   `json:"name"`
	Description    string   `json:"description,omitempty"`
	AllowedOrigins []string `json:"allowed_origins,omitempty"`
}

// AppPatch changes an app.
type AppPatch struct {
	Description    *string   `json:"description,omitempty"`
	AllowedOrigins *[]string `json:"allowed_origins,omitempty"`
}

// Retention bounds the history of a topic; 0: the node's default.
type Retention struct {
	MaxEvents int   `json:"max_events"`
	MaxAgeSec int64 `json:"max_age_sec"`
	MaxBytes  int64 `json:"max_bytes"`
}

// Topic is a registered topic.
type Topic struct {
	App         string    `json:"app"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	External    bool      `json:"external"`
	AuthMode    string    `json:"auth_mode"`
	Durability  string    `json:"durability"`
	Retention   Retention `json:"retention"`
	CreatedAt   Time      `json:"created_at"`
	UpdatedAt   Time      `json:"updated_at"`
}

// Topics is a list of topics.
type Topics struct {
	Topics []Topic `json:"topics"`
}

// NewTopic asks for a topic to be registered.
type NewTopic struct {
	Name        string     `json:"name"`
	Description string     `json:"description,omitempty"`
	External    bool       `json:"external,omitempty"`
	AuthMode    string     `json:"auth_mode,omitempty"`
	Durability  string     `json:"durability,omitempty"`
	Retention   *Retention `json:"retention,omitempty"`
}

// TopicPatch changes a topic. External has an endpoint of its own.
type TopicPatch struct {
	Description *string         `json:"description,omitempty"`
	AuthMode    *string         `json:"auth_mode,omitempty"`
	Durability  *string         `json:"durability,omitempty"`
	Retention   *Retention      `json:"retention,omitempty"`
	External    json.RawMessage `json:"external,omitempty" openapi:"-"`
}

// ExternalPatch says whether a topic can be subscribed to from outside.
type ExternalPatch struct {
	External *bool `json:"external"`
}

// Published is the answer to a publish.
type Published struct {
	ID          string `json:"id"`
	Topic       string `json:"topic"`
	PublishedAt Time   `json:"published_at"`
	Durability  string `json:"durability"`
}

// Draft is one event of a batch.
type Draft struct {
	Topic string          `json:"topic"`
	Data  json.RawMessage `json:"data"`
}

// Event is an event of the history.
type Event struct {
	ID          string          `json:"id"`
	Topic       string          `json:"topic"`
	Data        json.RawMessage `json:"data"`
	PublishedAt Time            `json:"published_at"`
	Source      string          `json:"source"`
	Durability  string          `json:"durability"`
	Clock       string          `json:"clock,omitempty"`      // "unsynced": published_at was stamped by a clock that could not be believed
	CentralAt   *Time           `json:"central_at,omitempty"` // when it had reached Postgres, at the latest
}

// History is a page of events; Next asks for the following one.
type History struct {
	Events []Event `json:"events"`
	Next   *string `json:"next"`
}

// NewToken asks for a subscriber token.
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

// SigningKey is what is shown of a signing key: never its bytes.
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

// Rotation asks for a new signing key.
type Rotation struct {
	OverlapSec *int64 `json:"overlap_sec,omitempty"`
}

// Key is an API key without its secret.
type Key struct {
	ID         string   `json:"id"`
	Label      string   `json:"label"`
	App        *string  `json:"app"`
	Scopes     []string `json:"scopes"`
	CreatedAt  Time     `json:"created_at"`
	ExpiresAt  Time     `json:"expires_at"`
	LastUsedAt Time     `json:"last_used_at"`
}

// Keys is a list of API keys.
type Keys struct {
	Keys []Key `json:"keys"`
}

// NewKey asks for an API key.
type NewKey struct {
	Label     string     `json:"label,omitempty"`
	App       string     `json:"app,omitempty"`
	Scopes    []string   `json:"scopes"`
	TTLSec    int64      `json:"ttl_sec,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// CreatedKey is a new API key with its text, which is shown this once.
type CreatedKey struct {
	Key
	Text string `json:"key"`
}

// Node is what a node says of itself.
type Node struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Version     string   `json:"version"`
	Commit      string   `json:"commit"`
	StartedAt   Time     `json:"started_at"`
	UptimeSec   int64    `json:"uptime_sec"`
	Epoch       string   `json:"epoch"`
	Incarnation uint64   `json:"incarnation"`
	Status      string   `json:"status"` // ok or degraded
	Notes       []string `json:"notes"`
	Storage     Storage  `json:"storage"`
	Subscribers int      `json:"subscribers"`
	Apps        Activity `json:"apps"`
}

// Activity is how the scripts and triggers of all apps are doing; the counts are
// since the start of the node.
type Activity struct {
	Triggers    int    `json:"triggers"` // that are enabled
	Running     int    `json:"running"`
	Waiting     int    `json:"waiting"`
	Paused      int    `json:"paused"` // triggers whose handler cannot be reached
	Error       string `json:"error,omitempty"`
	Done        uint64 `json:"done"`
	Failed      uint64 `json:"failed"` // attempts
	Buried      uint64 `json:"buried"`
	DeadLetters int    `json:"dead_letters"` // that are there, counted up to 10000
}

// Sync is how the copy to Postgres is doing.
type Sync struct {
	Configured bool    `json:"configured"`
	State      string  `json:"state"` // off, starting, draining, idle or waiting
	Since      Time    `json:"since"`
	Position   uint64  `json:"position"` // everything up to this record is in Postgres
	LastLSN    uint64  `json:"last_lsn"`
	Waiting    uint64  `json:"waiting_records"`
	LagSec     float64 `json:"lag_sec"`
	PerSec     float64 `json:"records_per_sec"`
	SetAside   uint64  `json:"set_aside_records"`
	Lost       uint64  `json:"lost_records"`
	Error      string  `json:"error"`
	FailedAt   Time    `json:"failed_at"`
	NextTryAt  Time    `json:"next_try_at"`
}

// RecoveryKey restores the node from Postgres when its card has died.
type RecoveryKey struct {
	Text string `json:"recovery_key"`
}

// Storage is the state of a node's disk.
type Storage struct {
	JournalBytes int64  `json:"journal_bytes"`
	Segments     int    `json:"segments"`
	FirstLSN     uint64 `json:"first_lsn"`
	LastLSN      uint64 `json:"last_lsn"`
	Events       uint64 `json:"events_since_start"`
	Commits      uint64 `json:"commits_since_start"`
	Written      int64  `json:"written_bytes_since_start"`
	WrittenDay   int64  `json:"written_bytes_last_day"`
	WearBudget   int64  `json:"wear_budget_bytes_per_day"`
	ReadOnly     bool   `json:"read_only"`
	NoSpace      bool   `json:"no_space"`
}
