package api

import "encoding/json"

// Entry is a key with its value: Value if it is JSON, Bytes otherwise.
type Entry struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value,omitempty"`
	Bytes     *[]byte         `json:"bytes,omitempty"`
	Version   uint64          `json:"version"`
	UpdatedAt Time            `json:"updated_at"`
	ExpiresAt Time            `json:"expires_at"`
}

// Entries is a page of keys; Next is the address of the next page.
type Entries struct {
	Entries []Entry `json:"entries"`
	Next    *string `json:"next"`
}

// Changed is the state of a key after it was set, without the value.
type Changed struct {
	Key       string `json:"key"`
	Version   uint64 `json:"version"`
	UpdatedAt Time   `json:"updated_at"`
	ExpiresAt Time   `json:"expires_at"`
}

// Increment adds a number to the value of a key. TTLSec is for a key that it
// creates; an existing key keeps its expiry.
type Increment struct {
	By     int64 `json:"by"`
	TTLSec int64 `json:"ttl_sec,omitempty"`
}
