package api

// Pins are the pins of an app, by name.
type Pins struct {
	Pins []Pin `json:"pins"`
}

// Pin is a line of the board that the node's configuration gives to an app. On is
// null while the level is unknown: Fault says why, and what to do.
type Pin struct {
	Name      string `json:"name"`
	Line      string `json:"line"` // as the kernel calls it
	Output    bool   `json:"output"`
	On        *bool  `json:"on"`
	ForMS     int64  `json:"for_ms,omitempty"` // milliseconds until a pulse ends
	SetBy     string `json:"set_by,omitempty"` // source of the last change of an output; absent: it is as it started
	Topic     string `json:"topic,omitempty"`  // to which an input publishes events
	Simulated bool   `json:"simulated"`
	Fault     string `json:"fault,omitempty"`

	Follow  *PinFollow  `json:"follow,omitempty"`
	Pending *PinPending `json:"pending,omitempty"`
}

// PinPending is a change that is held back, since the output has changed just now. A newer
// one takes its place.
type PinPending struct {
	On    bool  `json:"on"`
	InMS  int64 `json:"in_ms"`            // milliseconds until it is made
	ForMS int64 `json:"for_ms,omitempty"` // length of the pulse that it begins
}

// PinFollow is the topic whose newest event says whether an output is on. Without an
// event the output is as it starts; an event that does not say it leaves the output as
// it was, and Fault tells.
type PinFollow struct {
	Topic string `json:"topic"`
	Path  string `json:"path"` // JSON pointer into the data
	Event string `json:"event,omitempty"`
	Fault string `json:"fault,omitempty"`
}

// Press makes a simulated input on for ForMS milliseconds and then off, as often as Times
// says, or leaves it as On says, which excludes the others.
type Press struct {
	On       *bool  `json:"on,omitempty"`
	ForMS    *int64 `json:"for_ms,omitempty"`    // default 100
	Times    *int   `json:"times,omitempty"`     // default 1
	BounceMS *int64 `json:"bounce_ms,omitempty"` // how long the contact bounces each time; default 0
}

// PinChange sets an output. ForMS makes it a pulse, after which the output is set to
// the opposite.
type PinChange struct {
	On    *bool  `json:"on"`
	ForMS *int64 `json:"for_ms,omitempty"` // 1 to 86400000
}
