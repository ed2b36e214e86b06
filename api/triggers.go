package api

// Trigger is a trigger and the state of its deliveries.
type Trigger struct {
	Name string `json:"name"`
	TriggerSpec
	CreatedAt Time          `json:"created_at"`
	UpdatedAt Time          `json:"updated_at"`
	Status    TriggerStatus `json:"status"`
}

// TriggerStatus is the state of the deliveries of a trigger. Done and Failed count
// since the start of the node.
type TriggerStatus struct {
	Running     int    `json:"running"`
	Waiting     int    `json:"waiting"`
	Done        uint64 `json:"done"`
	Failed      uint64 `json:"failed"`
	LastDoneAt  Time   `json:"last_done_at"`
	PausedUntil Time   `json:"paused_until"`
	Error       string `json:"error,omitempty"`

	// BehindRecords is how many records of the journal the trigger has not come to, when
	// more deliveries wait than are held for it. GivenUp counts deliveries whose data the
	// journal dropped before they ran, ever.
	BehindRecords uint64 `json:"behind_records,omitempty"`
	GivenUp       uint64 `json:"given_up,omitempty"`
}

// Triggers is a list of triggers.
type Triggers struct {
	Triggers []Trigger `json:"triggers"`
}
