package picloud

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
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

// CheckScript returns nil when a script may be called name and have this source,
// otherwise a public error that says why. It does not read the source.
func CheckScript(name, source string) error {
	if err := CheckHandle("script", name); err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(source) == "":
		return ErrScriptInvalid.Detailf("it is empty: send an ES module, such as export default async function (input, ctx) { }")
	case len(source) > MaxScript:
		return ErrScriptInvalid.Detailf("it has %d bytes, the limit is %d: split it into several scripts that import one another", len(source), MaxScript)
	case strings.Contains(source, "\x00"):
		return ErrScriptInvalid.Detailf("byte %d is NUL: send text", strings.IndexByte(source, 0)+1)
	case !utf8.ValidString(source):
		return ErrScriptInvalid.Detailf("byte %d is not UTF-8: send UTF-8", firstInvalid([]byte(source)))
	}
	return nil
}

// CheckHandle returns nil when name is fit to name a script, a trigger, a secret
// or another thing of an app that people write into files and addresses: 1 to 64
// bytes of A–Z a–z 0–9 . _ -, beginning with a letter, a digit or _. What says
// which kind of thing it is.
func CheckHandle(what, name string) error {
	ok := name != "" && len(name) <= MaxScriptName && name[0] != '.' && name[0] != '-'
	for i := 0; ok && i < len(name); i++ {
		ok = topicByte(name[i]) && name[i] != '/'
	}
	if !ok {
		return ErrNameInvalid.Detailf("a %s cannot be called %q: use 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter, a digit or _", what, name)
	}
	return nil
}

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
}

// ScriptCall is one call that a script makes through the SDK. Its arguments are
// hostile.
type ScriptCall struct {
	App, Script    string // whose script calls
	Module, Method string // such as kv and get
	Args           []json.RawMessage
	Hops           int  // of what it makes triggers owe; see WithHops
	Anonymous      bool // it runs for somebody who did not say who they are
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
	ErrScriptFailed   = &Error{Code: CodeUnprocessable, Type: "script-failed", Title: "The script failed"}
	ErrRunNotFound    = &Error{Code: CodeNotFound, Type: "run-not-found", Title: "There is no such run", Detail: "It never was, or newer ones have taken its place."}
)
