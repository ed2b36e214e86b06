package script

import (
	"fmt"
	"unicode/utf8"
)

// Reason says why a run did not end well.
type Reason string

// The reasons.
const (
	ReasonThrown      Reason = "error"       // the script threw, or its promise was rejected
	ReasonSyntax      Reason = "syntax"      // the script cannot be read
	ReasonMissing     Reason = "missing"     // there is no such script, module or export
	ReasonInput       Reason = "input"       // what its handler would be given is too large
	ReasonTime        Reason = "time"        // it ran longer than it may
	ReasonMemory      Reason = "memory"      // it needed more memory than it may
	ReasonCalls       Reason = "calls"       // it called the SDK more often than it may
	ReasonOutput      Reason = "output"      // its result is too large, or not JSON
	ReasonStalled     Reason = "stalled"     // it waits for something that nothing will ever settle
	ReasonCrash       Reason = "crash"       // its worker died or said nonsense
	ReasonUnavailable Reason = "unavailable" // the node could not run it now
	ReasonNoWorker    Reason = "no-worker"   // no worker could be started for it
)

// Error says why a run failed.
type Error struct {
	Reason  Reason
	Name    string // of the JavaScript error; may be empty
	Message string
	Stack   string // may be empty; its lines name scripts as app:NAME:line:column
}

// Error returns name and message.
func (e *Error) Error() string {
	if e.Name == "" {
		return e.Message
	}
	return e.Name + ": " + e.Message
}

// Permanent reports whether the same run would fail in the same way again.
func (e *Error) Permanent() bool {
	return e.Reason == ReasonSyntax || e.Reason == ReasonMissing || e.Reason == ReasonInput
}

// Unauthenticated reports whether the script wanted an authenticated caller.
func (e *Error) Unauthenticated() bool { return e.Name == "UnauthenticatedError" }

// Unavailable reports whether the script is not to blame: it did not run, or was cut off.
func (e *Error) Unavailable() bool {
	return e.Reason == ReasonUnavailable || e.Reason == ReasonNoWorker
}

func failf(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Message: fmt.Sprintf(format, args...)}
}

// Bytes that are kept of an error and of a line of the console, so that neither fills
// a frame or the record of a run.
const (
	maxName    = 256
	maxMessage = 8 << 10
	maxStack   = 16 << 10
	maxLine    = 8 << 10
)

// clip cuts what is too long. e may be nil.
func (e *Error) clip() {
	if e != nil {
		e.Name, e.Message, e.Stack = clip(e.Name, maxName), clip(e.Message, maxMessage), clip(e.Stack, maxStack)
	}
}

// cutMark ends a text that was cut.
const cutMark = "… (cut)"

// clip returns text, cut between two characters and marked when it has more than limit
// bytes.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit - len(cutMark)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + cutMark
}
