package api

import (
	"time"

	"github.com/picloud/picloud"
)

// Spec is the desired state of an app: the body of an apply, and the app.toml of a
// directory.
type Spec struct {
	Name           string                    `json:"name" toml:"name"`
	Description    string                    `json:"description,omitempty" toml:"description"`
	AllowedOrigins []string                  `json:"allowed_origins,omitzero" toml:"allowed_origins"` // nil: unchanged
	Prune          bool                      `json:"prune,omitempty" toml:"prune"`
	Topics         map[string]TopicSpec      `json:"topics,omitempty" toml:"topics"`
	Collections    map[string]CollectionSpec `json:"collections,omitempty" toml:"collections"`
	Scripts        map[string]string         `json:"scripts,omitempty" toml:"-"` // sources by name
	Triggers       map[string]TriggerSpec    `json:"triggers,omitempty" toml:"triggers"`
	Endpoints      map[string]EndpointSpec   `json:"endpoints,omitempty" toml:"endpoints"`
}

// TopicSpec is the desired state of a topic; the name is its key. What is nil or empty
// stays as it is, and is the default for a new topic.
type TopicSpec struct {
	Description *string        `json:"description,omitempty" toml:"description"`
	External    *bool          `json:"external,omitempty" toml:"external"`
	AuthMode    string         `json:"auth_mode,omitempty" toml:"auth_mode"`
	Durability  string         `json:"durability,omitempty" toml:"durability"`
	Retention   *RetentionSpec `json:"retention,omitempty" toml:"retention"` // as a whole
}

// RetentionSpec bounds the history of a topic; 0 is the node's default.
type RetentionSpec struct {
	MaxEvents int   `json:"max_events" toml:"max_events"`
	MaxAgeSec int64 `json:"max_age_sec" toml:"max_age_sec"`
	MaxBytes  int64 `json:"max_bytes" toml:"max_bytes"`
}

// CollectionSpec names the fields of a collection's documents that are indexed.
type CollectionSpec struct {
	Indexes []string `json:"indexes" toml:"indexes"`
}

// TriggerSpec is the desired state of a trigger; the name is its key or in the
// address.
type TriggerSpec struct {
	Kind        string  `json:"kind" toml:"kind"`
	Script      string  `json:"script" toml:"script"`
	Export      string  `json:"export,omitempty" toml:"export"`
	Enabled     *bool   `json:"enabled,omitempty" toml:"enabled"` // nil: unchanged, true for a new trigger
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

// Retry is how often and how fast a failed delivery is tried again.
type Retry struct {
	Attempts int     `json:"attempts,omitempty" toml:"attempts"`
	FirstSec float64 `json:"first_sec,omitempty" toml:"first_sec"`
	MaxSec   float64 `json:"max_sec,omitempty" toml:"max_sec"`
}

// EndpointSpec is the desired state of an endpoint; the name is its key or in the
// address.
type EndpointSpec struct {
	Method     string  `json:"method,omitempty" toml:"method"` // default GET; * for any
	Path       string  `json:"path" toml:"path"`               // below /apps/{app}, such as /orders/{id}
	Script     string  `json:"script" toml:"script"`
	Export     string  `json:"export,omitempty" toml:"export"`
	Auth       string  `json:"auth,omitempty" toml:"auth"` // key (default) or public
	TimeoutSec float64 `json:"timeout_sec,omitempty" toml:"timeout_sec"`
}

// Applied is the answer to an apply: the steps that were done, or that a dry run
// would do.
type Applied struct {
	App    string `json:"app"`
	DryRun bool   `json:"dry_run"`
	Steps  []Step `json:"steps"`
}

// Step is one change that an apply makes.
type Step struct {
	Action Action `json:"action"`
	Kind   string `json:"kind"` // app, topic, collection, script, trigger or endpoint
	Name   string `json:"name"`
	Detail string `json:"detail,omitempty"` // the fields that change
}

// Action is the kind of a Step.
type Action string

// The actions.
const (
	ActionCreate Action = "create"
	ActionChange Action = "change"
	ActionDelete Action = "delete"
)

// Apply returns t as s wants it, or a public error when the retention cannot be
// converted. Package check says whether the topic is valid; that holds for Trigger and
// Endpoint too.
func (s *TopicSpec) Apply(t picloud.Topic) (picloud.Topic, error) {
	if s.Description != nil {
		t.Description = *s.Description
	}
	if s.External != nil {
		t.External = *s.External
	}
	if s.AuthMode != "" {
		t.AuthMode = picloud.AuthMode(s.AuthMode)
	}
	if s.Durability != "" {
		t.Durability = picloud.Durability(s.Durability)
	}
	if s.Retention != nil {
		var err error
		if t.Retention, err = Retention(*s.Retention).Limits(); err != nil {
			return picloud.Topic{}, err
		}
	}
	return t.WithDefaults(), nil
}

// Trigger returns the trigger that s describes, or a public error when a number of
// seconds cannot be converted.
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
	return t.WithDefaults(), nil
}

// Endpoint returns the endpoint that s describes, or a public error when the number of
// seconds cannot be converted.
func (s *EndpointSpec) Endpoint(app, name string) (picloud.Endpoint, error) {
	if !(s.TimeoutSec >= 0 && s.TimeoutSec <= picloud.MaxEndpointTimeout.Seconds()) {
		return picloud.Endpoint{}, picloud.ErrEndpointInvalid.Detailf("timeout_sec: use 0.1 to %d", picloud.MaxEndpointTimeout/time.Second)
	}
	return picloud.Endpoint{
		App: app, Name: name, Method: s.Method, Path: s.Path, Script: s.Script, Export: s.Export, Auth: picloud.EndpointAuth(s.Auth),
		Timeout: time.Duration(s.TimeoutSec * float64(time.Second)),
	}.WithDefaults(), nil
}
