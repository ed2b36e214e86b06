package picloud

import (
	"context"
	"encoding/json"
	"time"
)

// Script is a JavaScript module of an app.
type Script struct {
	App       string    `json:"app"`
	Name      string    `json:"name"`
	Source    string    `json:"source"`
	Version   uint64    `json:"version"` // counts how often it was saved
	UpdatedAt time.Time `json:"updated_at"`
}

// Limits of scripts.
const (
	MaxScriptName     = 64        // bytes
	MaxScript         = 256 << 10 // bytes of its source
	MaxScripts        = 500       // of one app
	MaxScriptVersions = 20        // that are kept of one script
)

// Run is the record of one run of a script.
type Run struct {
	ID        string // rises with time, within an app
	App       string
	Script    string
	Version   uint64 // 0: the script was not there
	Cause     string // trigger:NAME, endpoint:NAME, or who asked
	Delivery  string // what it answered for; empty: nothing
	Attempt   int    // from 1; 0: there is no other
	StartedAt time.Time
	Duration  time.Duration
	Outcome   string // ok, or why it failed
	Error     string
	Stack     string
	Lines     []RunLine
	Truncated bool // there were more lines than are kept

	Incarnation uint64 `json:"-"` // of the app when the run began; not kept
}

// ScriptCall is one call that a script makes through the SDK. Its arguments are
// hostile.
type ScriptCall struct {
	App, Script    string // whose script calls
	Module, Method string // such as kv and get
	Args           []json.RawMessage
	Cause          Cause // of the changes it makes
	Anonymous      bool  // it runs for an anonymous caller

	// Reserve, if not nil, waits until the run may hold an answer of so many bytes. What
	// answers with much calls it once, before it makes the answer.
	Reserve func(ctx context.Context, bytes int) error
}

// RunOK is the outcome of a run that ended well.
const RunOK = "ok"

// RunLine is a line that a script wrote to its console.
type RunLine struct {
	At    time.Time
	Level string // debug, info, warn, error
	Text  string
}

// Errors about scripts.
var (
	ErrNameInvalid    = &Error{Code: CodeUnprocessable, Type: "name-invalid", Title: "The name is not valid"}
	ErrScriptNotFound = &Error{Code: CodeNotFound, Type: "script-not-found", Title: "There is no such script"}
	ErrScriptInvalid  = &Error{Code: CodeUnprocessable, Type: "script-invalid", Title: "The script is not valid"}
	ErrScriptInUse    = &Error{Code: CodeConflict, Type: "script-in-use", Title: "The script is in use"}
	ErrScriptWorker   = &Error{
		Code: CodeUnavailable, Type: "script-worker-unavailable", Title: "No worker for scripts could be started",
		Detail: "The node's log says why. Repeat the request after the time in Retry-After.", RetryAfter: 10 * time.Second,
	}
	ErrScriptsBusy = &Error{
		Code: CodeUnavailable, Type: "scripts-busy", Title: "The scripts are busy",
		Detail: "Repeat the request after the time in Retry-After.", RetryAfter: 2 * time.Second,
	}
	ErrScriptFailed = &Error{Code: CodeUnprocessable, Type: "script-failed", Title: "The script failed"}
	ErrRunNotFound  = &Error{Code: CodeNotFound, Type: "run-not-found", Title: "There is no such run", Detail: "It never was, or newer ones have taken its place."}
)
