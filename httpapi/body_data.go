package httpapi

import "encoding/json"

// The bodies of the data services.

// Entry is a key with its value: Value when it is JSON, else Bytes.
type Entry struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value,omitempty"`
	Bytes     *[]byte         `json:"bytes,omitempty"`
	Version   uint64          `json:"version"`
	UpdatedAt Time            `json:"updated_at"`
	ExpiresAt Time            `json:"expires_at"`
}

// Entries is a page of keys; Next asks for the following one.
type Entries struct {
	Entries []Entry `json:"entries"`
	Next    *string `json:"next"`
}

// Changed tells what a key is after it was set.
type Changed struct {
	Key       string `json:"key"`
	Version   uint64 `json:"version"`
	UpdatedAt Time   `json:"updated_at"`
	ExpiresAt Time   `json:"expires_at"`
}

// Increment asks for a number to be added; TTLSec counts when the key is made
// by it.
type Increment struct {
	By     int64 `json:"by"`
	TTLSec int64 `json:"ttl_sec,omitempty"`
}
