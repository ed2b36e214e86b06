package picloud

import "time"

// Start says where in a history a reader begins.
type Start struct {
	Mode     StartMode
	Position Position  // for StartAfter
	Time     time.Time // for StartAt
}

// StartMode is the kind of a Start.
type StartMode uint8

// The ways to begin.
const (
	StartLive   StartMode = iota // with the next event
	StartAfter                   // after a position: a resume
	StartAt                      // with the first event published at a time or later
	StartAll                     // with the oldest retained event
	StartLatest                  // with the newest retained event of each topic, then the next event
)

// HistoryQuery asks for events of some topics of an app, oldest first.
type HistoryQuery struct {
	App    string
	Topics []string
	After  uint64 // sequence; events after it
	UpTo   uint64 // sequence; events up to and including it; 0: no bound
	Limit  int    // events at most; 0: 1000
	Bytes  int    // data at most, but at least one event; 0 and more than 4 MiB: 4 MiB
}

// HistoryPage is the answer to a HistoryQuery.
type HistoryPage struct {
	Events []Event
	Next   uint64 // ask again with After = Next; every event up to it has been considered
	More   bool   // there may be further events
}
