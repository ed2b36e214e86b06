package api

import (
	"time"

	"github.com/picloud/picloud"
)

// Time is written in picloud.TimeLayout; the zero time is null.
type Time struct{ time.Time }

// At returns t as it is written in a body.
func At(t time.Time) Time { return Time{t} }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.UTC().Format(picloud.TimeLayout) + `"`), nil
}
