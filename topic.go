package picloud

import "time"

// AuthMode says what an outside subscriber of an external topic must show.
type AuthMode string

// The auth modes. More may be added; an unknown one is refused at the door.
const (
	AuthPublic AuthMode = "public" // nothing
	AuthToken  AuthMode = "token"  // a subscriber token of the app that names the topic
)

// Durability is, for a topic, how its events are kept and, for an event, how
// safe it is by now.
type Durability string

// Durability of topics.
const (
	DurabilitySync      Durability = "sync"      // answered when fsynced; the default
	DurabilityTelemetry Durability = "telemetry" // answered at once, on the card within a second
)

// Durability of events.
const (
	DurabilityPending Durability = "pending" // announced, on the card within a second
	DurabilityLocal   Durability = "local"   // fsynced on this node's card
	DurabilityCentral Durability = "central" // in Postgres as well
)

// Retention bounds the history of a topic. A zero field means the node's
// default.
type Retention struct {
	MaxEvents int           // newest events kept
	MaxAge    time.Duration // age up to which events are kept
	MaxBytes  int64         // bytes of data kept
}

// Or returns r with its zero fields taken from d.
func (r Retention) Or(d Retention) Retention {
	if r.MaxEvents == 0 {
		r.MaxEvents = d.MaxEvents
	}
	if r.MaxAge == 0 {
		r.MaxAge = d.MaxAge
	}
	if r.MaxBytes == 0 {
		r.MaxBytes = d.MaxBytes
	}
	return r
}

// Topic is a registered topic. Publishing needs no registration; being
// subscribed to from outside does, and External besides.
type Topic struct {
	App         string
	Name        string
	Description string
	External    bool
	AuthMode    AuthMode
	Durability  Durability
	Retention   Retention
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// TopicPatch changes the fields of a Topic that are not nil. External is not
// among them: it has its own operation.
type TopicPatch struct {
	Description *string
	AuthMode    *AuthMode
	Durability  *Durability
	Retention   *Retention
}

// Apply returns t with the patch applied.
func (p TopicPatch) Apply(t Topic) Topic {
	if p.Description != nil {
		t.Description = *p.Description
	}
	if p.AuthMode != nil {
		t.AuthMode = *p.AuthMode
	}
	if p.Durability != nil {
		t.Durability = *p.Durability
	}
	if p.Retention != nil {
		t.Retention = *p.Retention
	}
	return t
}

// WithDefaults returns t with empty enumerations set to their defaults: a new
// topic needs a token and is fsynced before it is answered.
func (t Topic) WithDefaults() Topic {
	if t.AuthMode == "" {
		t.AuthMode = AuthToken
	}
	if t.Durability == "" {
		t.Durability = DurabilitySync
	}
	return t
}
