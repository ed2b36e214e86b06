package api

import (
	"encoding/json"
	"math"
	"time"

	"github.com/picloud/picloud"
)

// Retention bounds the history of a topic; 0 is the node's default.
type Retention struct {
	MaxEvents int   `json:"max_events"`
	MaxAgeSec int64 `json:"max_age_sec"`
	MaxBytes  int64 `json:"max_bytes"`
}

// Limits returns the retention in the node's terms, or a public error when the age
// does not fit a time.Duration.
func (r Retention) Limits() (picloud.Retention, error) {
	const longest = int64(math.MaxInt64 / time.Second)
	if r.MaxAgeSec < 0 || r.MaxAgeSec > longest {
		return picloud.Retention{}, picloud.ErrTopicInvalid.Detailf("retention.max_age_sec: use 0 to %d", longest)
	}
	return picloud.Retention{MaxEvents: r.MaxEvents, MaxAge: time.Duration(r.MaxAgeSec) * time.Second, MaxBytes: r.MaxBytes}, nil
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

// PublicTopic is a topic that anybody may subscribe to.
type PublicTopic struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// PublicTopics is a list of such topics, of up to 1000.
type PublicTopics struct {
	Topics []PublicTopic `json:"topics"`
}

// NewTopic registers a topic.
type NewTopic struct {
	Name        string     `json:"name"`
	Description string     `json:"description,omitempty"`
	External    bool       `json:"external,omitempty"`
	AuthMode    string     `json:"auth_mode,omitempty"`
	Durability  string     `json:"durability,omitempty"`
	Retention   *Retention `json:"retention,omitempty"`
}

// TopicPatch changes the fields of a topic that are not nil. External is refused:
// it has an endpoint of its own.
type TopicPatch struct {
	Description *string         `json:"description,omitempty"`
	AuthMode    *string         `json:"auth_mode,omitempty"`
	Durability  *string         `json:"durability,omitempty"`
	Retention   *Retention      `json:"retention,omitempty"`
	External    json.RawMessage `json:"external,omitempty" openapi:"-"`
}

// ExternalPatch opens a topic to subscribers outside the node, or closes it.
type ExternalPatch struct {
	External *bool `json:"external"`
}
