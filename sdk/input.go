package sdk

import (
	"encoding/json"

	"github.com/picloud/picloud"
)

// Event is what a handler gets as its first argument: what happened. Which fields
// there are depends on the kind.
type Event struct {
	Kind picloud.TriggerKind `json:"kind"`
	At   string              `json:"at"`

	Topic  string          `json:"topic,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
	Source string          `json:"source,omitempty"`

	Key        string `json:"key,omitempty"`
	Collection string `json:"collection,omitempty"`
	ID         string `json:"id,omitempty"`
	Path       string `json:"path,omitempty"`

	Deleted  *bool           `json:"deleted,omitempty"`
	Version  *uint64         `json:"version,omitempty"`
	Binary   bool            `json:"binary,omitempty"` // Value is base64
	Value    any             `json:"value,omitempty"`
	Document json.RawMessage `json:"document,omitempty"`
	File     json.RawMessage `json:"file,omitempty"`

	Letter json.RawMessage `json:"letter,omitempty"`
}

// Input returns the event of a delivery.
func Input(d *picloud.Delivery) Event {
	w := &d.What
	e := Event{Kind: w.Kind, At: w.At.Format(picloud.TimeLayout)}
	switch w.Kind {
	case picloud.TriggerPubSub:
		e.Topic, e.Data, e.ID, e.Source = w.Name, w.Data, w.Position, w.Source
		return e
	case picloud.TriggerDeadLetter:
		e.Letter = w.Data
		return e
	case picloud.TriggerCron, picloud.TriggerHTTP: // the time is all there is; a request is kept whole
		return e
	case picloud.TriggerKV:
		e.Key = w.Name
		if e.Binary = w.Binary; w.Binary {
			e.Value = w.Data
		} else if !w.Deleted {
			e.Value = json.RawMessage(w.Data)
		}
	case picloud.TriggerDocs:
		e.Collection, e.ID, e.Document = w.Container, w.Name, w.Data
	case picloud.TriggerFiles:
		e.Path, e.File = w.Name, w.Data
	}
	e.Deleted, e.Version = &w.Deleted, &w.Version
	return e
}

// About is what a handler gets as its second argument, and as ctx: why it runs. The
// delivery stays the same over attempts: an idempotency key.
type About struct {
	Trigger  string              `json:"trigger"`
	Kind     picloud.TriggerKind `json:"kind"`
	Delivery string              `json:"delivery"`
	Attempt  int                 `json:"attempt"`
	Attempts int                 `json:"attempts"`
}

// Context returns what there is to know about a delivery.
func Context(t *picloud.Trigger, d *picloud.Delivery) About {
	return About{Trigger: t.Name, Kind: t.Kind, Delivery: d.ID, Attempt: d.Attempts + 1, Attempts: t.Retry.Attempts}
}
