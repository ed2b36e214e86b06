package script

import (
	"context"
	"encoding/json"
	"time"

	"github.com/picloud/picloud"
)

// Job is one run that is asked for.
type Job struct {
	App    string
	Script string // its name
	Export string // which export to call; empty: default

	// Input is the JSON value the handler gets as its first argument; nil: null.
	Input json.RawMessage
	// Context is a JSON object of what else the handler may know: its second
	// argument, and ctx in the SDK. App, script and version are added to it. nil:
	// nothing.
	Context json.RawMessage

	// What the record of the run says besides: who or what asked for it, and which
	// delivery it is for, for which time.
	Cause    string
	Delivery string
	Attempt  int
	Hops     int // of the changes it makes; see picloud.MaxHops

	// Anonymous says that the run is for an anonymous caller, for
	// whom the SDK does not do everything.
	Anonymous bool

	// Sender, if not nil, says that the run is for a request, and reports whether its
	// sender still waits for the answer. It is asked while the run waits for its turn.
	Sender func() bool

	// Begin, if not nil, is called when it is the turn of the run: it gets what the run
	// needs only then, and may set Input and Context. Its error ends the run, which has
	// not begun.
	Begin func(*Job) error

	// Limits of this run; what is zero is taken from the Runner's.
	Limits Limits

	// Accept, if not nil, says of what the handler returned whether it is of use. Its
	// error is the run's.
	Accept func(output json.RawMessage, response bool) error

	// Line, if not nil, is called with each line of the console as it comes, from
	// one goroutine. It must not block.
	Line func(picloud.RunLine)

	incarnation uint64 // of the app when the run began

	check *string // the script is not run: this source is read
}

// Limits hold back a run. The zero value of each field means its default.
type Limits struct {
	Time   time.Duration // of the processor, for the script itself; 5 s
	Total  time.Duration // of the run by the clock, with all waiting; 30 s
	Memory int           // bytes the engine may use; 32 MiB
	Calls  int           // calls of the SDK; 1 000
	Output int           // bytes of the result; 1 MiB
	Lines  int           // bytes of console output that are kept; 64 KiB
}

// DefaultLimits are those of a board with little memory.
func DefaultLimits() Limits {
	return Limits{Time: 5 * time.Second, Total: 30 * time.Second, Memory: 32 << 20, Calls: 1000, Output: picloud.MaxOutput, Lines: 64 << 10}
}

// or returns l, completed by what d says.
func (l Limits) or(d Limits) Limits {
	or := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if l.Time == 0 {
		l.Time = d.Time
	}
	if l.Total == 0 {
		l.Total = d.Total
	}
	or(&l.Memory, d.Memory)
	or(&l.Calls, d.Calls)
	or(&l.Output, d.Output)
	or(&l.Lines, d.Lines)
	return l
}

// Result is how a run went.
type Result struct {
	RunID     string          // of its record; empty: there is none
	Version   uint64          // of the script that ran; 0: it was not found
	Output    json.RawMessage // what the handler returned; null when that was nothing
	Response  bool            // that is one of the SDK's responses
	Lines     []picloud.RunLine
	Truncated bool // there were more lines than are kept
	Started   time.Time
	Duration  time.Duration
	Calls     int // of the SDK
}

// Host is the node as scripts reach it. Its methods are called by many
// goroutines, and have to bind everything they do to the app they are given.
type Host interface {
	// Incarnation tells an app from others that had its name before; 0: there is none.
	Incarnation(app string) uint64
	// Module returns the newest version of a script of app, or a public error.
	Module(app, name string) (picloud.Script, error)
	// Call does what a call of the SDK asks for; the answer is a JSON value. Errors
	// that are not public are shown to the script as internal ones.
	Call(ctx context.Context, c picloud.ScriptCall) (json.RawMessage, error)
}
