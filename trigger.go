package picloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Trigger makes a script run whenever something of a kind happens in its app.
type Trigger struct {
	App     string      `json:"app"`
	Name    string      `json:"name"`
	ID      string      `json:"id"` // tells it from another one that had its name before
	Kind    TriggerKind `json:"kind"`
	Script  string      `json:"script"`
	Export  string      `json:"export,omitempty"` // which function of it; empty: default
	Enabled bool        `json:"enabled"`          // otherwise nothing new is enqueued, and what waits goes on waiting

	Topic      string  `json:"topic,omitempty"`      // pubsub: this one
	Prefix     string  `json:"prefix,omitempty"`     // pubsub, kv, files: what the topic, key or path begins with; empty: any
	Collection string  `json:"collection,omitempty"` // docs
	Schedule   string  `json:"schedule,omitempty"`   // cron: five fields, or one such as @daily
	TimeZone   string  `json:"time_zone,omitempty"`  // cron: such as Europe/Berlin; empty: UTC
	CatchUp    CatchUp `json:"catch_up,omitempty"`   // cron
	Source     string  `json:"source,omitempty"`     // dead_letter: of this trigger; empty: of any

	Retry       Retry         `json:"retry"`
	Timeout     time.Duration `json:"timeout"`     // of one run, with all waiting
	Concurrency int           `json:"concurrency"` // runs at once
	Ordered     bool          `json:"ordered"`     // what is about one topic, key, document or path runs one after another

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// TriggerKind says what a trigger reacts to.
type TriggerKind string

// The kinds of triggers.
const (
	TriggerPubSub     TriggerKind = "pubsub"      // an event
	TriggerKV         TriggerKind = "kv"          // a key was set or removed
	TriggerDocs       TriggerKind = "docs"        // a document was made, changed or deleted
	TriggerFiles      TriggerKind = "files"       // a file was written or deleted
	TriggerCron       TriggerKind = "cron"        // the clock
	TriggerDeadLetter TriggerKind = "dead_letter" // a delivery was given up

	// TriggerHTTP is a request that is answered later. It is owed by an endpoint, and
	// no trigger can be of this kind.
	TriggerHTTP TriggerKind = "http"
)

// CatchUp says what follows when the node was not there at a time it should have
// been.
type CatchUp string

// What can follow.
const (
	CatchUpOne  CatchUp = "one"  // one run for all the times that were missed
	CatchUpNone CatchUp = "none" // nothing
)

// Retry says how often and how fast a failed delivery is tried again: each pause
// is twice the one before, and jittered.
type Retry struct {
	Attempts int           `json:"attempts"` // in all
	First    time.Duration `json:"first"`    // pause after the first failure
	Max      time.Duration `json:"max"`      // longest pause
}

// Limits of triggers.
const (
	MaxTriggers    = 200 // of one app
	MaxAttempts    = 100
	MaxConcurrency = 64
	MaxTimeout     = 10 * time.Minute
)

// WithDefaults completes what a trigger does not say.
func (t Trigger) WithDefaults() Trigger {
	or := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	if t.Retry.Attempts == 0 {
		t.Retry.Attempts = 8
	}
	if t.Concurrency == 0 {
		t.Concurrency = 1
	}
	or(&t.Retry.First, time.Second)
	or(&t.Retry.Max, 5*time.Minute)
	or(&t.Timeout, 30*time.Second)
	if t.Kind == TriggerCron && t.CatchUp == "" {
		t.CatchUp = CatchUpOne
	}
	return t
}

// Matches reports whether something of the trigger's kind concerns it: an event by
// its topic, a key, a document by its collection, a file by its path, a dead
// letter by the trigger it comes from.
func (t *Trigger) Matches(name string) bool {
	switch t.Kind {
	case TriggerPubSub:
		if t.Topic != "" {
			return name == t.Topic
		}
		return strings.HasPrefix(name, t.Prefix) && (!IsSystemTopic(name) || IsSystemTopic(t.Prefix))
	case TriggerKV, TriggerFiles:
		return strings.HasPrefix(name, t.Prefix)
	case TriggerDocs:
		return t.Collection == "" || name == t.Collection
	case TriggerDeadLetter:
		return t.Source == "" || name == t.Source
	case TriggerCron, TriggerHTTP:
	}
	return false
}

// Happening is what a delivery is about.
type Happening struct {
	Kind      TriggerKind `json:"kind"`
	At        time.Time   `json:"at"`                  // when it was committed; of cron: when it was due
	Name      string      `json:"name,omitempty"`      // topic, key, document or path; of a dead letter its id
	Container string      `json:"container,omitempty"` // the collection of a document
	Position  string      `json:"position,omitempty"`  // of an event
	Source    string      `json:"source,omitempty"`    // who published an event
	Data      []byte      `json:"data,omitempty"`      // the event, the value, the document, the description of the file or of the letter
	Binary    bool        `json:"binary,omitempty"`    // Data is any bytes; otherwise it is JSON
	Deleted   bool        `json:"deleted,omitempty"`   // the thing is gone; there is no Data
	Version   uint64      `json:"version,omitempty"`   // of the thing
	Hops      int         `json:"hops,omitempty"`      // deliveries that led here; see MaxHops
}

// Cause is what a change follows from, beside the principal that asks for it.
type Cause struct {
	Hops        int    // deliveries that led to it; see MaxHops
	Incarnation uint64 // of the app that is meant; 0: the app that has the name now
}

// MaxHops bounds how many deliveries may lead to one another: more are taken for
// triggers that set each other off. A change that a script makes in a delivery is
// one hop further than the delivery. Records of format 1 do not hold the count.
const MaxHops = 16

// MarshalJSON implements json.Marshaler: data that is JSON is told as it is.
func (h Happening) MarshalJSON() ([]byte, error) {
	type plain Happening
	if h.Binary || h.Data == nil {
		return EncodeJSON(plain(h))
	}
	return EncodeJSON(struct {
		plain
		Data json.RawMessage `json:"data"`
	}{plain(h), h.Data})
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *Happening) UnmarshalJSON(b []byte) error {
	type plain Happening
	told := struct {
		*plain
		Data json.RawMessage `json:"data"`
	}{plain: (*plain)(h)}
	if err := json.Unmarshal(b, &told); err != nil {
		return err
	}
	h.Data = told.Data
	if h.Binary {
		return json.Unmarshal(told.Data, &h.Data)
	}
	return nil
}

// Pending is a delivery that is not done, with what it takes to put it in its place
// among others.
type Pending struct {
	LSN      uint64    // its place among the deliveries of the trigger
	Order    uint32    // deliveries about one topic, key, document or path have the same
	NotUntil time.Time // the next attempt
}

// Delivery is something that a trigger owes its script.
type Delivery struct {
	ID      string // stays the same over attempts, restarts and redriving
	App     string
	Trigger string // its name
	LSN     uint64 // its place among the deliveries of the trigger
	What    Happening

	Attempts int       // that were made
	NotUntil time.Time // the next one
	Errors   []string  // why the last of them failed, at most MaxErrors, newest last
}

// MaxErrors is of how many attempts the errors are kept.
const MaxErrors = 10

// DeadLetter is a delivery that was given up.
type DeadLetter struct {
	ID        string    `json:"id"` // sorts by time
	App       string    `json:"app"`
	Trigger   string    `json:"trigger"` // its name
	TriggerID string    `json:"trigger_id"`
	Delivery  string    `json:"delivery"` // id of the delivery
	LSN       uint64    `json:"lsn"`
	What      Happening `json:"what"`
	Attempts  int       `json:"attempts"`
	Reason    string    `json:"reason"`
	Errors    []string  `json:"errors"` // of its last attempts, newest last
	CreatedAt time.Time `json:"created_at"`

	// GivenUp is how many deliveries the letter counts whose data is gone, from record LSN
	// on; 0: it is about one delivery.
	GivenUp uint64 `json:"given_up,omitempty"`

	// HandledBy has the ids of the dead_letter triggers that were owed it.
	HandledBy []string `json:"handled_by"`
	// Notes tell which of them failed at it.
	Notes []LetterNote `json:"notes"`
}

// LetterNote says that a dead_letter trigger failed at a dead letter.
type LetterNote struct {
	At      time.Time `json:"at"`
	Trigger string    `json:"trigger"`
	Text    string    `json:"text"`
}

// LetterFilter selects dead letters; what is empty selects all.
type LetterFilter struct {
	IDs     []string
	Trigger string
	Before  time.Time // made before this
	After   string    // id after which to begin
	Limit   int       // letters at most; 0: MaxPage
}

// Selects reports whether a letter is meant, apart from After and Limit.
func (f *LetterFilter) Selects(l *DeadLetter) bool {
	return (len(f.IDs) == 0 || slices.Contains(f.IDs, l.ID)) && (f.Trigger == "" || f.Trigger == l.Trigger) &&
		(f.Before.IsZero() || l.CreatedAt.Before(f.Before))
}

// DeliveryID is how the delivery of a trigger is called that is about a record,
// committed at a time.
func DeliveryID(trigger string, lsn uint64, at time.Time) string {
	return fmt.Sprintf("%s-%x-%x", trigger, lsn, at.UnixMicro())
}

// Errors about triggers and what they owe.
var (
	ErrTriggerNotFound = &Error{Code: CodeNotFound, Type: "trigger-not-found", Title: "There is no such trigger"}
	ErrTriggerInvalid  = &Error{Code: CodeUnprocessable, Type: "trigger-invalid", Title: "The trigger is not valid"}
	// ErrDeliveryGone is the internal error that a waiting delivery cannot be carried out:
	// the journal has given up what it is about, or cannot read it.
	ErrDeliveryGone = errors.New("the record of the delivery is gone")

	ErrDeadLetterNotFound = &Error{Code: CodeNotFound, Type: "dead-letter-not-found", Title: "There is no such dead letter"}
)
