package api

// Incident is a loss or damage that was found.
type Incident struct {
	ID             string `json:"id"`
	Text           string `json:"text"` // what happened, and what to do
	At             Time   `json:"at"`
	AcknowledgedAt Time   `json:"acknowledged_at"` // null: not yet, and the node is degraded
}

// Incidents is a list of incidents, oldest first.
type Incidents struct {
	Incidents []Incident `json:"incidents"`
}

// IncidentSelection says which incidents are acknowledged: those with the ids, or all.
type IncidentSelection struct {
	IDs []string `json:"ids,omitempty"`
	All bool     `json:"all,omitempty"`
}
