package api

// Node describes a node and its state.
type Node struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Version     string   `json:"version"`
	Commit      string   `json:"commit"`
	StartedAt   Time     `json:"started_at"`
	UptimeSec   int64    `json:"uptime_sec"`
	Epoch       string   `json:"epoch"`
	Incarnation uint64   `json:"incarnation"`
	Status      string   `json:"status"` // ok or degraded
	Notes       []string `json:"notes"`
	Storage     Storage  `json:"storage"`
	Subscribers int      `json:"subscribers"`
	Apps        Activity `json:"apps"`
	Memory      Memory   `json:"memory"`
	TLS         *TLS     `json:"tls"` // null: the node serves no HTTPS
}

// TLS is the state of a node's certificate.
type TLS struct {
	Names     []string `json:"names"`      // DNS names and IP addresses; none: there is no certificate that can be used
	StartsAt  Time     `json:"starts_at"`  // before it browsers refuse the certificate; null: there is none
	ExpiresAt Time     `json:"expires_at"` // null: there is none
	Expires   bool     `json:"expires"`    // it has ended, or ends soon
	Fault     string   `json:"fault"`      // why its files cannot be used; empty: they are
}

// Memory is what requests make a node hold, of the bytes that they may.
type Memory struct {
	BudgetBytes int            `json:"budget_bytes"`
	HeldBytes   int            `json:"held_bytes"`
	Refused     uint64         `json:"refused_since_start"`
	Holders     []MemoryHolder `json:"holders"`
}

// MemoryHolder is the part that one kind of holder has.
type MemoryHolder struct {
	Holder     string `json:"holder"` // bodies, runs, deliveries, answers, streams, replies, uploads, operator
	HeldBytes  int    `json:"held_bytes"`
	ShareBytes int    `json:"share_bytes"`
	Refused    uint64 `json:"refused_since_start"`
}

// Storage is the state of a node's disk.
type Storage struct {
	JournalBytes int64  `json:"journal_bytes"`
	Segments     int    `json:"segments"`
	FirstLSN     uint64 `json:"first_lsn"`
	LastLSN      uint64 `json:"last_lsn"`
	Events       uint64 `json:"events_since_start"`
	Commits      uint64 `json:"commits_since_start"`
	Written      int64  `json:"written_bytes_since_start"`
	WrittenDay   int64  `json:"written_bytes_last_day"`
	WearBudget   int64  `json:"wear_budget_bytes_per_day"`
	ReadOnly     bool   `json:"read_only"`
	NoSpace      bool   `json:"no_space"`
}

// Activity sums up the scripts and triggers of all apps. Done, Failed and Buried
// count since the start of the node.
type Activity struct {
	Triggers    int    `json:"triggers"` // that are enabled
	Running     int    `json:"running"`
	Waiting     int    `json:"waiting"`
	Paused      int    `json:"paused"` // triggers whose handler cannot be reached
	Error       string `json:"error,omitempty"`
	Done        uint64 `json:"done"`
	Failed      uint64 `json:"failed"` // attempts
	Buried      uint64 `json:"buried"`
	DeadLetters int    `json:"dead_letters"` // in the store, counted up to 10000

	// Behind is how many triggers have more deliveries than may wait, so that the rest
	// waits in the journal. Dropped counts deliveries whose data the journal dropped
	// before they ran, since the start of the node.
	Behind  int    `json:"behind"`
	Dropped uint64 `json:"dropped"`

	LettersDropped int64 `json:"dead_letters_dropped"` // for newer ones, until these are purged or redriven
	DataBytes      int64 `json:"data_bytes"`           // key-value pairs, documents and files of all apps
	DataQuota      int64 `json:"data_quota_bytes"`     // of each app; 0: none
}

// Sync is the state of the copy to Postgres.
type Sync struct {
	Configured bool    `json:"configured"`
	State      string  `json:"state"` // off, starting, draining, idle or waiting
	Since      Time    `json:"since"`
	Position   uint64  `json:"position"` // everything up to this record is in Postgres
	LastLSN    uint64  `json:"last_lsn"`
	Waiting    uint64  `json:"waiting_records"`
	LagSec     float64 `json:"lag_sec"`
	PerSec     float64 `json:"records_per_sec"`
	SetAside   uint64  `json:"set_aside_records"`
	Lost       uint64  `json:"lost_records"`
	Error      string  `json:"error"`
	Advice     string  `json:"advice"` // the one thing to do about the error
	FailedAt   Time    `json:"failed_at"`
	NextTryAt  Time    `json:"next_try_at"`

	Refused []Refused `json:"refused"` // the newest records that were set aside, newest first
}

// Refused is a record that Postgres does not take.
type Refused struct {
	Kind   string `json:"kind"`
	App    string `json:"app"`
	Name   string `json:"name"` // topic, key, path, or collection and id of a document
	Reason string `json:"reason"`
}
