// Package board is the vocabulary of the board: how it is, and its pins. It reads and
// drives nothing; package hw does.
package board

import (
	"time"

	"github.com/picloud/picloud"
)

// Health is a snapshot of the health of a board; nil fields are unknown.
type Health struct {
	At        time.Time `json:"at"`
	Model     *string   `json:"model"`
	Revision  *string   `json:"revision"` // code of a Raspberry Pi, in hexadecimal
	Processor *string   `json:"processor"`
	Simulated bool      `json:"simulated"`      // model, temperature, power and pins are made up; the rest is of this machine
	Uptime    *float64  `json:"uptime_seconds"` // since the kernel started

	Celsius *float64 `json:"celsius"` // of the processor
	// Power and heat, now and at any time since the board was started.
	Undervoltage     *bool `json:"undervoltage"`
	UndervoltageSeen *bool `json:"undervoltage_seen"`
	Throttled        *bool `json:"throttled"`
	ThrottledSeen    *bool `json:"throttled_seen"`

	CPU             *float64 `json:"cpu"`       // 0 to 1 of all cores, since it was asked before
	CPUHertz        *float64 `json:"cpu_hertz"` // present clock of the first core
	Load            *float64 `json:"load"`
	MemoryTotal     *uint64  `json:"memory_total"` // bytes
	MemoryAvailable *uint64  `json:"memory_available"`
	DiskTotal       *uint64  `json:"disk_total"` // bytes, of the disk with the data
	DiskFree        *uint64  `json:"disk_free"`
	Wear            *float64 `json:"wear"` // 0 to 1 of the life that the card's maker promised
	ClockSynced     *bool    `json:"clock_synced"`
}

// Pin is a line of the board that the configuration has given a name.
type Pin struct {
	App       string `json:"app"`
	Name      string `json:"name"`
	Line      string `json:"line"` // as the kernel calls it
	Output    bool   `json:"output"`
	On        *bool  `json:"on"`               // nil: unknown, and Fault says why
	ForMS     int64  `json:"for_ms,omitempty"` // milliseconds until a pulse ends; 0: no pulse
	SetBy     string `json:"set_by,omitempty"` // source of the last change of an output; empty: it is as it started
	Topic     string `json:"topic,omitempty"`  // of the app, to which an input publishes events
	Simulated bool   `json:"simulated"`
	Fault     string `json:"fault,omitempty"` // why it cannot be used; empty: it can

	Follow  *Follow  `json:"follow,omitempty"`  // the topic that sets an output; nil: none
	Pending *Pending `json:"pending,omitempty"` // the change of an output that is held back; nil: none
}

// Pending is a change of an output that is held back, since the output has changed just
// now. A newer change takes its place.
type Pending struct {
	On    bool  `json:"on"`
	InMS  int64 `json:"in_ms"`            // milliseconds until it is made
	ForMS int64 `json:"for_ms,omitempty"` // length of the pulse that it begins; 0: none
}

// Follow is the topic whose newest event says whether an output is on.
type Follow struct {
	Topic string `json:"topic"`
	Path  string `json:"path"`            // JSON pointer into the data
	Event string `json:"event,omitempty"` // position of the newest event; empty: none is known, the output is as it starts
	Fault string `json:"fault,omitempty"` // why the event does not say it; the output is as it was
}

// PinChange asks for an output to be set.
type PinChange struct {
	App, Name string
	On        bool
	For       time.Duration // length of a pulse, after which the output is set to the opposite; 0: no pulse
	By        string        // source of the change, as events have it
}

// Press is what a finger does to a simulated input.
type Press struct {
	App, Name string
	On        *bool         // leave it on or off, and nothing else; nil: press and let go
	For       time.Duration // how long it is on, and off after it, each time
	Times     int           // at least 1
	Bounce    time.Duration // how long the contact bounces at the beginning of each
}

// MaxPress is how long the whole of a press may take. Each level counts 1 millisecond more
// than it is told to last.
const MaxPress = 30 * time.Second

// Limits of a pulse.
const (
	MinPulse = time.Millisecond
	MaxPulse = 24 * time.Hour
)

// Errors about pins.
var (
	ErrPinNotFound    = &picloud.Error{Code: picloud.CodeNotFound, Type: "pin-not-found", Title: "There is no such pin"}
	ErrPinInput       = &picloud.Error{Code: picloud.CodeConflict, Type: "pin-is-input", Title: "The pin is an input", Detail: "Only pins below hw.outputs in the node's configuration can be set."}
	ErrPinFollows     = &picloud.Error{Code: picloud.CodeConflict, Type: "pin-follows", Title: "The pin follows a topic"}
	ErrPinOutput      = &picloud.Error{Code: picloud.CodeConflict, Type: "pin-is-output", Title: "The pin is an output", Detail: "Only pins below hw.inputs in the node's configuration can be pressed."}
	ErrPinReal        = &picloud.Error{Code: picloud.CodeConflict, Type: "pin-is-real", Title: "The pin is not simulated", Detail: "Only inputs of a node with hw.driver = \"sim\" can be pressed from here."}
	ErrPressInvalid   = &picloud.Error{Code: picloud.CodeUnprocessable, Type: "press-invalid", Title: "The press is not valid", Detail: "Use at least 1 millisecond and once, a bounce that is no longer, and at most 30 seconds with all pauses, of which each counts 1 millisecond more."}
	ErrPulseInvalid   = &picloud.Error{Code: picloud.CodeUnprocessable, Type: "pulse-invalid", Title: "The length of the pulse is not valid", Detail: "Use 1 to 86400000 milliseconds."}
	ErrPinUnavailable = &picloud.Error{Code: picloud.CodeUnavailable, Type: "pin-unavailable", Title: "The pin cannot be used", RetryAfter: 30 * time.Second}
)
