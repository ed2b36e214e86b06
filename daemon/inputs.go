package daemon

import (
	"fmt"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/hw"
)

// InputSettings is the part of PinSettings about the events of inputs.
var InputSettings = []PinSetting{
	{"topic", "Topic of the app to which the input publishes events. Default: none, the input is only read.", true, false, checked(func(p *hw.PinConfig) *string { return &p.Topic }, checkTopicOfInput)},
	{
		"kind", "What an event tells: edges, each change of the level; button, that it was pressed, held or pressed twice; counter, how many pulses there were. Default: edges.", true, false,
		oneOf(func(p *hw.PinConfig) *string { return &p.Kind }, hw.KindEdges, hw.KindButton, hw.KindCounter),
	},
	{
		"edges", "Which changes have an event or are counted: rising, the pin goes on; falling; both. Default: both, for a counter rising.", true, false,
		oneOf(func(p *hw.PinConfig) *string { return &p.Edges }, hw.EdgesRising, hw.EdgesFalling, hw.EdgesBoth),
	},
	{
		"debounce", "For how long the level has to be still before it has changed, such as 20ms, up to 10s; the event has the time of the first edge. Default: 0s, for a button 20ms.", true, false,
		interval(func(p *hw.PinConfig) *time.Duration { return &p.Debounce }, 0, 10*time.Second),
	},
	{
		"min_interval", "Shortest time between two events, such as 1s, up to 24h. Of events that come sooner the newest is published when it is over, with their number as count. Default: 0s.", true, false,
		interval(func(p *hw.PinConfig) *time.Duration { return &p.MinInterval }, 0, 24*time.Hour),
	},
	{
		"hold", "Of a button: how long it is down to be held, up to 1m; 0s: that is not told, and a press at once. Default: 1s.", true, false,
		interval(func(p *hw.PinConfig) *time.Duration { return &p.Hold }, 0, time.Minute),
	},
	{
		"double", "Of a button: within which time it is pressed twice, up to 5s; every press is told so much later. Default: 0s, that is not told.", true, false,
		interval(func(p *hw.PinConfig) *time.Duration { return &p.Double }, 0, 5*time.Second),
	},
	{
		"every", "Of a counter: time between two events, from 1s to 24h. Default: 1m.", true, false,
		interval(func(p *hw.PinConfig) *time.Duration { return &p.Every }, time.Second, 24*time.Hour),
	},
	{"data", "Template of the events: a JSON object in which the strings $on, $edge, $at, $count, for a button $gesture, for a counter $total and $rate, stand for values. Default: {\"on\": \"$on\"}.", true, false, checked(func(p *hw.PinConfig) *string { return &p.Data }, nil)},
	{"durability", "How the topic is registered if it is not: sync or telemetry. Default: it is not registered, which is as sync.", true, false, oneOf(func(p *hw.PinConfig) *picloud.Durability { return &p.Durability }, picloud.DurabilitySync, picloud.DurabilityTelemetry)},
}

func checkTopicOfInput(v string) error {
	if strings.Contains(v, ":") {
		return fmt.Errorf("%q: an input publishes to topics of its own app alone; name the app with app", v)
	}
	return check.TopicName(v)
}

// unset is a duration that the file does not give, where 0 means something.
const unset time.Duration = -1

// Defaults of inputs that publish events.
const (
	defaultDebounce = 20 * time.Millisecond // of a button
	defaultHold     = time.Second
	defaultEvery    = time.Minute
)

// completeInputs sets what the file does not give and depends on what it gives.
func (c *Config) completeInputs() {
	for i := range c.Pins {
		p := &c.Pins[i]
		button, counter := p.Kind == hw.KindButton, p.Kind == hw.KindCounter
		if p.Topic != "" && p.Kind == "" {
			p.Kind = hw.KindEdges
		}
		if p.Edges == "" && counter {
			p.Edges = hw.EdgesRising
		}
		if p.Edges == "" && p.Kind == hw.KindEdges {
			p.Edges = hw.EdgesBoth
		}
		p.Debounce = given(p.Debounce, button, defaultDebounce)
		p.Hold = given(p.Hold, button, defaultHold)
		p.Double = given(p.Double, false, 0)
		p.Every = given(p.Every, counter, defaultEvery)
	}
}

// given returns d, or when it is unset its default, where it has one.
func given(d time.Duration, has bool, otherwise time.Duration) time.Duration {
	switch {
	case d != unset:
		return d
	case has:
		return otherwise
	}
	return 0
}

// checkInput adds what is wrong with the events of an input, by setting.
func checkInput(p *hw.PinConfig, add func(key, format string, args ...any)) {
	if p.Output {
		return
	}
	if p.Topic == "" {
		if p.Kind != "" || p.Edges != "" || p.Data != "" || p.Durability != "" || p.Debounce+p.MinInterval+p.Hold+p.Double+p.Every > 0 {
			add("topic", "say to which topic its events go, such as topic = %q", p.Name)
		}
		return
	}
	button, counter := p.Kind == hw.KindButton, p.Kind == hw.KindCounter
	if p.Hold > 0 && !button {
		add("hold", "it is for kind = \"button\"")
	}
	if p.Double > 0 && !button {
		add("double", "it is for kind = \"button\"")
	}
	if p.Every > 0 && !counter {
		add("every", "it is for kind = \"counter\"; min_interval limits the others")
	}
	if p.Edges != "" && button {
		add("edges", "it is not for kind = \"button\"")
	}
	if p.MinInterval > 0 && counter {
		add("min_interval", "it is not for kind = \"counter\", which has every")
	}
	if err := hw.CheckTemplate(p.Kind, p.Data); err != nil {
		add("data", "%w", err)
	}
}
