package api

import "github.com/picloud/picloud"

// DeadLetter is a delivery that was given up. What is the occurrence that it was to
// deliver.
type DeadLetter struct {
	ID        string            `json:"id"`
	Trigger   string            `json:"trigger"`
	Delivery  string            `json:"delivery"`
	What      picloud.Happening `json:"what"`
	Attempts  int               `json:"attempts"`
	Reason    string            `json:"reason"`
	Errors    []string          `json:"errors"` // of its last ten attempts, newest last
	CreatedAt Time              `json:"created_at"`
	GivenUp   uint64            `json:"given_up,omitempty"` // deliveries without data that it counts, instead of being about one
	Notes     []LetterNote      `json:"notes"`
}

// LetterNote reports the failure of a dead_letter trigger to handle a dead letter.
type LetterNote struct {
	At      Time   `json:"at"`
	Trigger string `json:"trigger"`
	Text    string `json:"text"`
}

// DeadLetters is a page of dead letters, oldest first; Next is the address of the
// next page.
type DeadLetters struct {
	DeadLetters []DeadLetter `json:"dead_letters"`
	Next        *string      `json:"next"`
}

// LetterSelection selects dead letters by id, by trigger, by time, or by a
// combination of these. All selects every dead letter, which an empty selection
// does not.
type LetterSelection struct {
	IDs     []string `json:"ids,omitempty"`
	Trigger string   `json:"trigger,omitempty"`
	Before  string   `json:"before,omitempty"`
	All     bool     `json:"all,omitempty"`
}

// Counted is the number of things that an operation applied to.
type Counted struct {
	Count int `json:"count"`
	Left  int `json:"left,omitempty"` // selected but skipped: their trigger is gone, or they count deliveries without data
}
