package api

import "encoding/json"

// Draft is one event of a batch to publish.
type Draft struct {
	Topic string          `json:"topic"`
	Data  json.RawMessage `json:"data"`
}

// Published is the answer to a publish.
type Published struct {
	ID          string `json:"id"`
	Topic       string `json:"topic"`
	PublishedAt Time   `json:"published_at"`
	Durability  string `json:"durability"`
}

// Event is an event of the history.
type Event struct {
	ID          string          `json:"id"`
	Topic       string          `json:"topic"`
	Data        json.RawMessage `json:"data"`
	PublishedAt Time            `json:"published_at"`
	Source      string          `json:"source"`
	Durability  string          `json:"durability"`
	Clock       string          `json:"clock,omitempty"`      // "unsynced": the clock that stamped published_at was not set
	CentralAt   *Time           `json:"central_at,omitempty"` // when it was in Postgres, at the latest
}

// History is a page of events; Next is the address of the next page.
type History struct {
	Events []Event `json:"events"`
	Next   *string `json:"next"`
}
