package sensor

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

// Limits of intervals.
const (
	MinEvery = 100 * time.Millisecond
	MaxEvery = 24 * time.Hour
)

// Settings describe one sensor. Complete fills in what the driver implies.
type Settings struct {
	Name   string
	App    string // default picloud.DefaultApp
	Topic  string // default sensors/NAME
	Driver string

	Bus     int    // of I²C: N of /dev/i2c-N
	Address uint16 // on the bus; 0: the usual one of the driver

	Path     string // file, as a pattern that exactly one file matches
	Pattern  string // regular expression whose first group is the number in the file
	Unit     string // name of the value
	Scale    float64
	Offset   float64 // the value is what was read × Scale + Offset
	OutOfSys bool    // Path may lead out of /sys

	Channel string  // of a converter: 0 to 3, or a difference such as 0-1
	MaxVolt float64 // largest voltage that a converter can read
	Shunt   float64 // ohms of the resistor that a current is measured with
	MaxAmp  float64 // largest current

	Every      time.Duration // between readings
	AtLeast    time.Duration // after which a value is published though it has not moved; 0: never
	MinChange  Changes       // empty: every reading is published
	Durability picloud.Durability

	pattern *regexp.Regexp // nil: none
}

// Changes say by how much values must move to be published, by unit; AnyUnit stands for
// those that are not named.
type Changes map[string]float64

// AnyUnit stands for all units.
const AnyUnit = ""

// Defaults returns the settings of a sensor of which only the name is known.
func Defaults(name string) Settings {
	return Settings{
		Name: name, App: picloud.DefaultApp, Topic: "sensors/" + name, Bus: 1, Scale: 1, Channel: "0", MaxVolt: 4.096, Shunt: 0.1, MaxAmp: 3.2,
		Every: 10 * time.Second, Durability: picloud.DurabilityTelemetry,
	}
}

// Takes reports whether a driver has use for a setting. Unknown drivers take all.
func Takes(driverName, key string) bool {
	d, ok := drivers[driverName]
	return !ok || slices.Contains(commonKeys, key) || slices.Contains(d.keys, key)
}

var commonKeys = []string{"driver", "app", "topic", "every", "at_least", "min_change", "durability"}

// Drivers lists the names of the drivers.
func Drivers() []string { return slices.Sorted(maps.Keys(drivers)) }

// Complete returns s with the defaults of its driver, and all its faults, by setting.
func (s Settings) Complete() (Settings, map[string]error) {
	faults := map[string]error{}
	d, ok := drivers[s.Driver]
	switch {
	case s.Driver == "":
		faults["driver"] = fmt.Errorf("say which kind of sensor it is: one of %s", strings.Join(Drivers(), ", "))
	case !ok:
		faults["driver"] = fmt.Errorf("unknown driver %q%s; there are %s", s.Driver, suggest(s.Driver), strings.Join(Drivers(), ", "))
	}
	if err := check.TopicName(s.Topic); err != nil {
		faults["topic"] = err
	}
	if s.AtLeast != 0 && s.AtLeast < s.Every {
		faults["at_least"] = fmt.Errorf("%v is shorter than every, which is %v", s.AtLeast, s.Every)
	}
	if s.AtLeast != 0 && len(s.MinChange) == 0 {
		faults["at_least"] = errors.New("it says something only beside min_change: without, every reading is published")
	}
	if !ok {
		return s, faults
	}
	if s.Every < d.minEvery {
		faults["every"] = fmt.Errorf("%v is too short for this sensor, which measures every %v", s.Every, d.minEvery)
	}
	if d.bus != nil {
		s = s.completeBus(&d, faults)
	} else {
		s = s.completeFile(&d, faults)
	}
	for unit := range s.MinChange {
		if units := d.units(&s); unit != AnyUnit && !slices.Contains(units, unit) {
			faults["min_change"] = fmt.Errorf("the sensor has no value %q: it has %s", unit, strings.Join(units, ", "))
		}
	}
	return s, faults
}

// completeBus is the part of Complete for devices on an I²C bus.
func (s Settings) completeBus(d *driver, faults map[string]error) Settings {
	if s.Address == 0 {
		s.Address = d.addresses[0]
	}
	if !slices.Contains(d.addresses, s.Address) {
		faults["address"] = fmt.Errorf("%#x is no address of this sensor, which can have %s", s.Address, hexes(d.addresses))
	}
	if _, ok := channels[s.Channel]; !ok {
		faults["channel"] = fmt.Errorf("%q: use one of %s", s.Channel, strings.Join(slices.Sorted(maps.Keys(channels)), ", "))
	}
	return s
}

// completeFile is the part of Complete for files.
func (s Settings) completeFile(d *driver, faults map[string]error) Settings {
	if s.Path == "" {
		s.Path = d.path
	}
	s.Path = filepath.Clean(s.Path)
	bad := checkPath(s.Path)
	switch {
	case s.Path == ".":
		faults["path"] = errors.New("say which file has the value; 'picloud hw scan' lists those of sensors")
	case !filepath.IsAbs(s.Path):
		faults["path"] = fmt.Errorf("%q: use a whole path, from /", s.Path)
	case bad != nil:
		faults["path"] = bad
	case !strings.HasPrefix(s.Path, "/sys/") && (!s.OutOfSys || s.Driver != driverFile):
		faults["path"] = fmt.Errorf("%q is outside /sys: with driver = %q such a file is read where outside_sys = true permits it", s.Path, driverFile)
	}
	if s.Pattern != "" {
		var err error
		if s.pattern, err = regexp.Compile(s.Pattern); err != nil || s.pattern.NumSubexp() != 1 {
			faults["pattern"] = errors.New("use a regular expression with one group in parentheses, which is the number, such as 't=(-?[0-9]+)'")
		}
	}
	if s.Unit == "" {
		s.Unit = d.unitOf(&s)
	}
	return s
}

// suggest returns the driver that was probably meant.
func suggest(name string) string {
	if best := check.Nearest(name, Drivers()); best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	return ""
}

// hexes lists addresses.
func hexes(addresses []uint16) string {
	texts := make([]string, len(addresses))
	for i, a := range addresses {
		texts[i] = fmt.Sprintf("%#x", a)
	}
	return strings.Join(texts, ", ")
}

// Place says where the sensor is.
func (s *Settings) Place() string {
	if drivers[s.Driver].bus != nil {
		return fmt.Sprintf("i2c-%d %#x", s.Bus, s.Address)
	}
	return s.Path
}

// Conflict returns why two sensors of one board cannot both be, or nil.
func (s *Settings) Conflict(o *Settings) error {
	d, e := drivers[s.Driver], drivers[o.Driver]
	if d.bus == nil || e.bus == nil || s.Bus != o.Bus || s.Address != o.Address {
		return nil
	}
	if s.Driver == o.Driver && slices.Contains(d.keys, "channel") {
		if s.Channel != o.Channel {
			return nil
		}
		return fmt.Errorf("both are channel %s of the device at %s", s.Channel, s.Place())
	}
	return fmt.Errorf("both are the device at %s", s.Place())
}
