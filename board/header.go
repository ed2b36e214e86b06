package board

import "slices"

// Header is the pin header of a board.
type Header struct {
	Model     *string     `json:"model"` // nil: unknown
	Simulated bool        `json:"simulated"`
	Chip      string      `json:"chip,omitempty"` // label of the GPIO chip; empty: it cannot be reached
	Pins      []HeaderPin `json:"pins"`           // by number; empty: the header of this board is unknown
	Missing   []Missing   `json:"missing"`
}

// Of returns the header as an app may see it: of the pins of other apps it tells their use
// alone, neither names nor levels.
func (h Header) Of(app string) Header {
	h.Pins = slices.Clone(h.Pins)
	for i := range h.Pins {
		if p := &h.Pins[i]; p.App != "" && p.App != app {
			p.App, p.Pin, p.High, p.On, p.Fault = "", "", nil, nil, ""
		}
	}
	return h
}

// HeaderPin is a pin of a Header.
type HeaderPin struct {
	Number   int    `json:"number"`             // as counted on the board, from 1
	Name     string `json:"name"`               // of the processor's line, or 3V3, 5V, GND
	Line     string `json:"line,omitempty"`     // the kernel's name; empty: not a line, or unknown
	Function string `json:"function,omitempty"` // special use that the line can have
	Use      Use    `json:"use"`

	App string `json:"app,omitempty"` // of a pin of the configuration
	Pin string `json:"pin,omitempty"` // its name there
	By  string `json:"by,omitempty"`  // kernel driver or program that has it, as the kernel names it

	Output *bool  `json:"output"` // nil: unknown
	High   *bool  `json:"high"`   // level of the line; nil: unknown
	On     *bool  `json:"on"`     // of a pin of the configuration, as it is wired; nil: unknown
	Fault  string `json:"fault,omitempty"`
}

// Use says what uses a HeaderPin.
type Use string

// Uses of a HeaderPin.
const (
	UsePower   Use = "power"
	UseGround  Use = "ground"
	UseInput   Use = "input"  // of the configuration
	UseOutput  Use = "output" // of the configuration
	UseOther   Use = "other"  // a kernel driver or another program
	UseFree    Use = "free"
	UseUnknown Use = "unknown" // the chip cannot be reached
)
