package httpapi

import (
	"github.com/picloud/picloud"
	"github.com/picloud/picloud/provision"
)

// The bodies about triggers and what they owe.

// TriggerSpec says what makes a script run; the name is in the address.
type TriggerSpec = provision.TriggerSpec

// Retry says how often and how fast a failed delivery is tried again.
type Retry = provision.Retry

// Trigger is a trigger and how its deliveries are doing.
type Trigger struct {
	Name string `json:"name"`
	TriggerSpec
	CreatedAt Time          `json:"created_at"`
	UpdatedAt Time          `json:"updated_at"`
	Status    TriggerStatus `json:"status"`
}

// TriggerStatus says how the deliveries of a trigger are doing; the counts are
// since the start of the node.
type TriggerStatus struct {
	Running     int    `json:"running"`
	Waiting     int    `json:"waiting"`
	Done        uint64 `json:"done"`
	Failed      uint64 `json:"failed"`
	LastDoneAt  Time   `json:"last_done_at"`
	PausedUntil Time   `json:"paused_until"`
	Error       string `json:"error,omitempty"`
}

// Triggers is a list of triggers.
type Triggers struct {
	Triggers []Trigger `json:"triggers"`
}

// DeadLetter is a delivery that was given up. What tells what it was about.
type DeadLetter struct {
	ID        string            `json:"id"`
	Trigger   string            `json:"trigger"`
	Delivery  string            `json:"delivery"`
	What      picloud.Happening `json:"what"`
	Attempts  int               `json:"attempts"`
	Reason    string            `json:"reason"`
	Errors    []string          `json:"errors"` // of its last ten attempts, newest last
	CreatedAt Time              `json:"created_at"`
	Notes     []LetterNote      `json:"notes"`
}

// LetterNote says that a dead_letter trigger failed at a dead letter.
type LetterNote struct {
	At      Time   `json:"at"`
	Trigger string `json:"trigger"`
	Text    string `json:"text"`
}

// DeadLetters is a page of dead letters, oldest first; Next asks for the following
// one.
type DeadLetters struct {
	DeadLetters []DeadLetter `json:"dead_letters"`
	Next        *string      `json:"next"`
}

// LetterSelection says which dead letters are meant: those of the ids, those of a
// trigger, those made before a time, or those that are all of it. All says that
// none of these is on purpose.
type LetterSelection struct {
	IDs     []string `json:"ids,omitempty"`
	Trigger string   `json:"trigger,omitempty"`
	Before  string   `json:"before,omitempty"`
	All     bool     `json:"all,omitempty"`
}

// Counted says how many were concerned.
type Counted struct {
	Count int `json:"count"`
	Left  int `json:"left,omitempty"` // selected, and not concerned: their trigger is gone
}
