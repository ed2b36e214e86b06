package provision

import (
	"math"
	"time"

	"github.com/picloud/picloud"
)

// Spec is what an app is to be.
type Spec struct {
	Name           string                    `json:"name" toml:"name"`
	Description    string                    `json:"description,omitempty" toml:"description"`
	AllowedOrigins []string                  `json:"allowed_origins,omitempty" toml:"allowed_origins"`
	Prune          bool                      `json:"prune,omitempty" toml:"prune"`
	Topics         map[string]TopicSpec      `json:"topics,omitempty" toml:"topics"`
	Collections    map[string]CollectionSpec `json:"collections,omitempty" toml:"collections"`
	Scripts        map[string]string         `json:"scripts,omitempty" toml:"-"` // sources by name
	Triggers       map[string]TriggerSpec    `json:"triggers,omitempty" toml:"triggers"`
	Endpoints      map[string]EndpointSpec   `json:"endpoints,omitempty" toml:"endpoints"`
}

// TopicSpec says what a topic is; the name is its key.
type TopicSpec struct {
	Description string        `json:"description,omitempty" toml:"description"`
	External    bool          `json:"external,omitempty" toml:"external"`
	AuthMode    string        `json:"auth_mode,omitempty" toml:"auth_mode"`
	Durability  string        `json:"durability,omitempty" toml:"durability"`
	Retention   RetentionSpec `json:"retention,omitzero" toml:"retention"`
}

// RetentionSpec bounds the history of a topic; 0: the node's default.
type RetentionSpec struct {
	MaxEvents int   `json:"max_events" toml:"max_events"`
	MaxAgeSec int64 `json:"max_age_sec" toml:"max_age_sec"`
	MaxBytes  int64 `json:"max_bytes" toml:"max_bytes"`
}

// CollectionSpec says by which fields documents are found quickly.
type CollectionSpec struct {
	Indexes []string `json:"indexes" toml:"indexes"`
}

// TriggerSpec says what makes a script run; the name is its key.
type TriggerSpec struct {
	Kind        string  `json:"kind" toml:"kind"`
	Script      string  `json:"script" toml:"script"`
	Export      string  `json:"export,omitempty" toml:"export"`
	Enabled     *bool   `json:"enabled,omitempty" toml:"enabled"` // if not given as it is, true for a new one
	Topic       string  `json:"topic,omitempty" toml:"topic"`
	Prefix      string  `json:"prefix,omitempty" toml:"prefix"`
	Collection  string  `json:"collection,omitempty" toml:"collection"`
	Schedule    string  `json:"schedule,omitempty" toml:"schedule"`
	TimeZone    string  `json:"time_zone,omitempty" toml:"time_zone"`
	CatchUp     string  `json:"catch_up,omitempty" toml:"catch_up"`
	Source      string  `json:"source,omitempty" toml:"source"`
	Retry       *Retry  `json:"retry,omitempty" toml:"retry"`
	TimeoutSec  float64 `json:"timeout_sec,omitempty" toml:"timeout_sec"`
	Concurrency int     `json:"concurrency,omitempty" toml:"concurrency"`
	Ordered     bool    `json:"ordered,omitempty" toml:"ordered"`
}

// Retry says how often and how fast a failed delivery is tried again.
type Retry struct {
	Attempts int     `json:"attempts,omitempty" toml:"attempts"`
	FirstSec float64 `json:"first_sec,omitempty" toml:"first_sec"`
	MaxSec   float64 `json:"max_sec,omitempty" toml:"max_sec"`
}

// EndpointSpec says where a script answers; the name is its key.
type EndpointSpec struct {
	Method     string  `json:"method,omitempty" toml:"method"` // GET if not given; * for any
	Path       string  `json:"path" toml:"path"`               // below /apps/{app}, such as /orders/{id}
	Script     string  `json:"script" toml:"script"`
	Export     string  `json:"export,omitempty" toml:"export"`
	Auth       string  `json:"auth,omitempty" toml:"auth"` // key if not given, or public
	TimeoutSec float64 `json:"timeout_sec,omitempty" toml:"timeout_sec"`
}

// Topic returns the topic that s says, or a public error.
func (s *TopicSpec) Topic(app, name string) (picloud.Topic, error) {
	if s.Retention.MaxAgeSec < 0 || s.Retention.MaxAgeSec > int64(math.MaxInt64/time.Second) {
		return picloud.Topic{}, picloud.ErrTopicInvalid.Detailf("retention.max_age_sec: use 0 to %d", int64(math.MaxInt64/time.Second))
	}
	t := picloud.Topic{
		App: app, Name: name, Description: s.Description, External: s.External, AuthMode: picloud.AuthMode(s.AuthMode), Durability: picloud.Durability(s.Durability),
		Retention: picloud.Retention{MaxEvents: s.Retention.MaxEvents, MaxAge: time.Duration(s.Retention.MaxAgeSec) * time.Second, MaxBytes: s.Retention.MaxBytes},
	}.WithDefaults()
	return t, t.Validate()
}

// Trigger returns the trigger that s says, or a public error. Its schedule is left
// to whoever reads it.
func (s *TriggerSpec) Trigger(app, name string) (picloud.Trigger, error) {
	t := picloud.Trigger{
		App: app, Name: name, Kind: picloud.TriggerKind(s.Kind), Script: s.Script, Export: s.Export, Enabled: s.Enabled == nil || *s.Enabled,
		Topic: s.Topic, Prefix: s.Prefix, Collection: s.Collection, Schedule: s.Schedule, TimeZone: s.TimeZone, CatchUp: picloud.CatchUp(s.CatchUp),
		Source: s.Source, Concurrency: s.Concurrency, Ordered: s.Ordered,
	}
	retry := s.Retry
	if retry == nil {
		retry = &Retry{}
	}
	t.Retry.Attempts = retry.Attempts
	for _, d := range []struct {
		name    string
		seconds float64
		into    *time.Duration
	}{{"retry.first_sec", retry.FirstSec, &t.Retry.First}, {"retry.max_sec", retry.MaxSec, &t.Retry.Max}, {"timeout_sec", s.TimeoutSec, &t.Timeout}} {
		if !(d.seconds >= 0 && d.seconds <= 1e6) { // NaN is neither
			return t, picloud.ErrTriggerInvalid.Detailf("%s: use a positive number of seconds, or leave it out", d.name)
		}
		*d.into = time.Duration(d.seconds * float64(time.Second))
	}
	t = t.WithDefaults()
	return t, t.Validate()
}

// Endpoint returns the endpoint that s says, or a public error.
func (s *EndpointSpec) Endpoint(app, name string) (picloud.Endpoint, error) {
	if !(s.TimeoutSec >= 0 && s.TimeoutSec <= picloud.MaxEndpointTimeout.Seconds()) {
		return picloud.Endpoint{}, picloud.ErrEndpointInvalid.Detailf("timeout_sec: use 0.1 to %d", picloud.MaxEndpointTimeout/time.Second)
	}
	e := picloud.Endpoint{
		App: app, Name: name, Method: s.Method, Path: s.Path, Script: s.Script, Export: s.Export, Auth: picloud.EndpointAuth(s.Auth),
		Timeout: time.Duration(s.TimeoutSec * float64(time.Second)),
	}.WithDefaults()
	return e, e.Validate()
}
