package api

import "encoding/json"

// Script is a script without its source.
type Script struct {
	Name      string `json:"name"`
	Version   uint64 `json:"version"`
	Size      int    `json:"size"` // bytes of its source
	UpdatedAt Time   `json:"updated_at"`
}

// Scripts is a list of scripts, or of the versions of one.
type Scripts struct {
	Scripts []Script `json:"scripts"`
}

// NewRun runs a script once.
type NewRun struct {
	Export string          `json:"export,omitempty"` // the function to call; "default" if empty
	Input  json.RawMessage `json:"input,omitempty"`  // its first argument
}

// Run is the record of a run.
type Run struct {
	ID         string    `json:"id"`
	Script     string    `json:"script"`
	Version    uint64    `json:"version"`
	Cause      string    `json:"cause"`
	Delivery   string    `json:"delivery,omitempty"`
	Attempt    int       `json:"attempt,omitempty"`
	StartedAt  Time      `json:"started_at"`
	DurationMS float64   `json:"duration_ms"`
	Outcome    string    `json:"outcome"`
	Error      string    `json:"error,omitempty"`
	Stack      string    `json:"stack,omitempty"`
	Lines      []RunLine `json:"lines"`
	Truncated  bool      `json:"truncated"`
}

// RunLine is a line that a script wrote to its console.
type RunLine struct {
	At    Time   `json:"at"`
	Level string `json:"level"`
	Text  string `json:"text"`
}

// Runs is a list of runs, newest first.
type Runs struct {
	Runs []Run `json:"runs"`
}

// RunResult is the answer to NewRun: the record of the run and its return value.
type RunResult struct {
	Run
	Output json.RawMessage `json:"output"`
}
