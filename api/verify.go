package api

// Verification is how far a look at everything that a node keeps is, or what the last one
// has found.
type Verification struct {
	Running   bool   `json:"running"`
	StartedAt Time   `json:"started_at"` // null: there was none since the start of the node
	EndedAt   Time   `json:"ended_at"`   // of the last one that came to its end
	Records   uint64 `json:"records"`    // of the journal
	Rows      uint64 `json:"rows"`
	Files     uint64 `json:"files"`
	Bytes     int64  `json:"bytes"`
	Damaged   uint64 `json:"damaged"` // the incidents say more
	Error     string `json:"error"`   // why it did not come to its end
}
