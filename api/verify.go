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

	Compared    *Comparison `json:"compared"`     // with the copy in Postgres; null: it was not, or there is none
	NotCompared string      `json:"not_compared"` // why
}

// Comparison is how the copy in Postgres and the node differed.
type Comparison struct {
	Things  uint64   `json:"things"`  // that the node has
	Lost    []string `json:"lost"`    // things that only the copy has, or has in a newer version; a hundred of them at most
	Missing []string `json:"missing"` // things that were missing in the copy, and are copied now; as lost
}
