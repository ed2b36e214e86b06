package api

// Incident is a loss or damage that was found.
type Incident struct {
	ID             string `json:"id"`
	Text           string `json:"text"` // what happened, and what to do
	At             Time   `json:"at"`
	AcknowledgedAt Time   `json:"acknowledged_at"` // null: not yet, and the node is degraded
	HealedAt       Time   `json:"healed_at"`       // when the copy in Postgres was asked for what is missing; null: it was not
	Healed         string `json:"healed"`          // what came of it
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
