package board

import "time"

// Condition is a lack of power or too much heat, as $board/power reports it.
type Condition string

// The conditions. More may be added.
const (
	Undervoltage Condition = "undervoltage" // the supply gives too little
	Throttled    Condition = "throttled"    // the board runs slower, to save itself
	Heat         Condition = "heat"         // the processor is warmer than hw.warm_celsius
)

// Conditions lists all conditions.
var Conditions = []Condition{Undervoltage, Throttled, Heat}

// Advice says what to do about a condition.
func (c Condition) Advice() string {
	switch c {
	case Undervoltage:
		return "Use the power supply that the board's maker recommends and a short, thick cable, and power USB devices by a hub of their own."
	case Throttled:
		return "Cool the board (a heat sink, a fan, air around it), and look for undervoltage, which slows it down as well."
	case Heat:
		return "Cool the board (a heat sink, a fan, air around it), or raise hw.warm_celsius if it may be as warm."
	}
	return ""
}

// States of a PowerEvent.
const (
	Begins = "begins"
	Ends   = "ends"
)

// PowerEvent is the data of an event on $board/power.
type PowerEvent struct {
	Condition Condition   `json:"condition"`
	State     string      `json:"state"`                // Begins or Ends
	Celsius   *float64    `json:"celsius"`              // at the time of the event
	LastedSec *float64    `json:"lasted_sec,omitempty"` // of one that ends; nil: it began before the node started
	Lasting   []Condition `json:"lasting"`              // all that last after the event
	Advice    string      `json:"advice,omitempty"`     // what to do about one that begins
	Simulated bool        `json:"simulated,omitempty"`
}

// Lasting is a condition that lasts.
type Lasting struct {
	Condition Condition `json:"condition"`
	Since     time.Time `json:"since"` // corrected when the clock is set
	Advice    string    `json:"advice"`
}

// Missing says why something about the board is unknown, and how to mend that.
type Missing struct {
	What string `json:"what"`
	Why  string `json:"why"`
	Fix  string `json:"fix,omitempty"` // empty: nothing can be done
}

// Report is the health of a board with the conditions that last, and what is missing.
type Report struct {
	Health
	Conditions []Lasting `json:"conditions"`
	Slowed     bool      `json:"slowed"` // background work is: a condition lasts
	Missing    []Missing `json:"missing"`
}
