package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/hw"
)

// Tables of pins: hw.inputs.NAME and hw.outputs.NAME.
const (
	pinInputs  = "inputs"
	pinOutputs = "outputs"
)

// PinSetting is one thing to say of a pin.
type PinSetting struct {
	Key     string
	Text    string
	Inputs  bool // it is for them
	Outputs bool
	field[hw.PinConfig]
}

// PinSettings is the table of what can be said of a pin.
var PinSettings = append([]PinSetting{
	{"line", "Line of the board by the name that the kernel has for it, such as GPIO17 (`gpioinfo` lists them), or CHIP:OFFSET, such as gpiochip0:17.", true, true, lineOfBoard},
	{"app", "App whose keys and scripts may use the pin. Default: default.", true, true, checked(func(p *hw.PinConfig) *string { return &p.App }, check.AppName)},
	{"invert", "Whether the pin is on when the line is low. Default: false.", true, true, yesNo(func(p *hw.PinConfig) *bool { return &p.Invert })},
	{"pull", "Resistor of the board: up, down or none. Default: as it is.", true, false, oneOf(func(p *hw.PinConfig) *string { return &p.Pull }, "up", "down", "none")},
	{"start", "What it is set to when the node starts: on or off. Default: off.", false, true, onOff(func(p *hw.PinConfig) *bool { return &p.Start })},
	{"stop", "What it is left at when the node stops: on or off. Default: off.", false, true, onOff(func(p *hw.PinConfig) *bool { return &p.Stop })},
	{"follow", "Topic of the app whose newest event says whether the output is on, with no script. Nothing else sets it then. Default: none.", false, true, checked(func(p *hw.PinConfig) *string { return &p.Follow }, checkFollow)},
	{"follow_path", "JSON pointer to true or false in the data of the events. Default: " + hw.DefaultFollowPath + ".", false, true, checked(func(p *hw.PinConfig) *string { return &p.FollowPath }, checkPointer)},
	{
		"min_interval", "Shortest time between two changes of the output, such as 1s, up to 1h; 0s: it may change as often as it is told. " +
			"A change that comes sooner is made when it is over, unless a newer one has taken its place; pulses end in their time all the same. Default: " + hw.DefaultMinInterval.String() + ".", false, true,
		interval(func(p *hw.PinConfig) *time.Duration { return &p.MinInterval }, 0, time.Hour),
	},
}, InputSettings...)

var lineOfBoard = field[hw.PinConfig]{
	Form: Form{Kind: KindText},
	set: func(p *hw.PinConfig, v string) (err error) {
		if v != "" { // which is as if it were missing
			p.Line, err = hw.CleanLine(v)
		}
		return err
	},
	get: func(p *hw.PinConfig) string { return p.Line },
}

func checkPointer(v string) error {
	_, err := check.Pointer(v)
	return err
}

// checkFollow returns nil when a topic has events that an output can follow.
func checkFollow(topic string) error {
	if picloud.IsStateTopic(topic) {
		return fmt.Errorf("%s is a state, which has no events to follow", topic)
	}
	if picloud.IsNodeTopic(topic) {
		return nil
	}
	return check.TopicName(topic)
}

// fits reports whether it can be said of outputs, or of inputs.
func (s *PinSetting) fits(output bool) bool { return s.Outputs && output || s.Inputs && !output }

// onOff is the level of an output.
func onOff(at func(*hw.PinConfig) *bool) field[hw.PinConfig] {
	return field[hw.PinConfig]{
		Form: Form{Kind: KindText, Values: "\"on\" or \"off\""},
		set: func(p *hw.PinConfig, v string) error {
			if v != "on" && v != "off" {
				return fmt.Errorf("%q: use \"on\" or \"off\"", v)
			}
			*at(p) = v == "on"
			return nil
		},
		get: func(p *hw.PinConfig) string {
			if *at(p) {
				return "on"
			}
			return "off"
		},
	}
}

// pinKey takes a key such as hw.inputs.door.line apart.
func pinKey(key string) (output bool, name, field string, ok bool) {
	parts := strings.Split(key, ".")
	if len(parts) != 4 || parts[0] != "hw" || (parts[1] != pinInputs && parts[1] != pinOutputs) {
		return false, "", "", false
	}
	return parts[1] == pinOutputs, parts[2], parts[3], true
}

// openPin returns the pin that a table is about, which is made when it is named first.
func (c *Config) openPin(output bool, name string) (*hw.PinConfig, error) {
	if check.AppName(name) != nil {
		return nil, fmt.Errorf("%q cannot be the name of a pin: use lower-case letters, digits and -, beginning with a letter", name)
	}
	at := slices.IndexFunc(c.Pins, func(p hw.PinConfig) bool { return p.Name == name && p.Output == output })
	if at < 0 {
		at = len(c.Pins)
		p := hw.PinConfig{Name: name, Output: output, App: picloud.DefaultApp}
		if output {
			p.FollowPath, p.MinInterval = hw.DefaultFollowPath, hw.DefaultMinInterval
		} else {
			p.Debounce, p.Hold, p.Double, p.Every = unset, unset, unset, unset
		}
		c.Pins = append(slices.Clone(c.Pins), p)
	}
	return &c.Pins[at], nil
}

// setPin says something of a pin.
func (c *Config) setPin(output bool, name, field string, value *unstable.Node) error {
	p, err := c.openPin(output, name)
	if err != nil {
		return err
	}
	var known []string
	for i := range PinSettings {
		s := &PinSettings[i]
		if !s.fits(output) {
			continue
		}
		if s.Key == field {
			return s.apply(p, value)
		}
		known = append(known, s.Key)
	}
	return fmt.Errorf("unknown setting of a pin; there are %s", strings.Join(known, ", "))
}

// pinTable is the table that describes a pin.
func pinTable(p *hw.PinConfig) string {
	if p.Output {
		return "hw." + pinOutputs + "." + p.Name
	}
	return "hw." + pinInputs + "." + p.Name
}

// checkPins finds pins without a line, and two where there can be one.
func (c *Config) checkPins() (faults []fault) {
	for i := range c.Pins {
		p := &c.Pins[i]
		add := func(key, format string, args ...any) {
			faults = append(faults, fault{strings.TrimSuffix(pinTable(p)+"."+key, "."), fmt.Errorf(format, args...)})
		}
		if p.Line == "" {
			add("line", "say which line of the board it is, such as line = \"GPIO17\"")
		}
		checkInput(p, add)
		switch {
		case p.Follow == "" && p.Output && p.FollowPath != hw.DefaultFollowPath:
			add("follow_path", "name the topic in follow, too")
		case picloud.IsSystemTopic(p.Follow) && p.App != picloud.DefaultApp:
			add("follow", "%s is a topic of the app %s, and the pin belongs to %s", p.Follow, picloud.DefaultApp, p.App)
		}
		for k := range c.Pins[:i] {
			q := &c.Pins[k]
			switch {
			case p.Line == q.Line && p.Line != "" && c.Driver == hw.DriverKernel:
				add("line", "it has the line %s, as %s has, and a line can have one use only", p.Line, pinTable(q))
			case p.Name == q.Name && p.App == q.App:
				add("", "%s has this name, too: the pins of an app need different names", pinTable(q))
			}
		}
	}
	return faults
}

// showPins writes what is said of the pins as the file would.
func (c Config) showPins(b *strings.Builder) {
	pins := slices.Clone(c.Pins)
	slices.SortFunc(pins, func(p, q hw.PinConfig) int { return cmp.Compare(pinTable(&p), pinTable(&q)) })
	for i := range pins {
		for _, s := range PinSettings {
			if s.fits(pins[i].Output) {
				fmt.Fprintf(b, "%-34s %s\n", pinTable(&pins[i])+"."+s.Key, s.get(&pins[i]))
			}
		}
	}
}
