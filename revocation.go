package picloud

import "time"

// Revocation says that a right to subscribe has ended. A live stream whose
// grant matches every field that is set is ended at once, or at At when that is
// later than now.
type Revocation struct {
	App         string    // always set, but for revoked keys of the instance
	Topic       string    // streams that hold this topic
	OutsideOnly bool      // only those whose right came from the topic being external
	SigningKey  string    // streams opened with a token signed by this key
	APIKey      string    // streams opened with this API key
	At          time.Time // zero: now
}
