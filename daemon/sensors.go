package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/hw/sensor"
)

// sensorTable holds the tables of sensors: hw.sensors.NAME.
const sensorTable = "hw.sensors."

// SensorSetting is one thing to say of a sensor.
type SensorSetting struct {
	Key  string
	Text string
	For  string // drivers that it is for; empty: all
	set  func(s *sensor.Settings, text string) error
	get  func(s *sensor.Settings) string
}

// SensorSettings is the table of what can be said of a sensor.
var SensorSettings = []SensorSetting{
	{"driver", "Kind of sensor: " + strings.Join(sensor.Drivers(), ", ") + ".", "", sensorText(func(s *sensor.Settings) *string { return &s.Driver }), func(s *sensor.Settings) string { return s.Driver }},
	{"bus", "Number N of the bus /dev/i2c-N. Default: 1, which is on the header of a Raspberry Pi.", "I²C", func(s *sensor.Settings, v string) error {
		n, err := strconv.ParseUint(v, 10, 8)
		if err != nil {
			return fmt.Errorf("%q: use the number of a bus, such as 1 for /dev/i2c-1", v)
		}
		s.Bus = int(n)
		return nil
	}, func(s *sensor.Settings) string { return strconv.Itoa(s.Bus) }},
	{"address", "Address on the bus, such as 0x76. Default: the usual one of the driver.", "I²C", func(s *sensor.Settings, v string) error {
		n, err := strconv.ParseUint(v, 0, 16)
		if err != nil || n < 0x08 || n > 0x77 {
			return fmt.Errorf("%q: use an address from 0x08 to 0x77", v)
		}
		s.Address = uint16(n)
		return nil
	}, func(s *sensor.Settings) string { return fmt.Sprintf("%#x", s.Address) }},
	{"path", "File with the value, below /sys; * stands for any name where one file alone fits. Default for ds18b20: the only one there is.", "files", sensorText(func(s *sensor.Settings) *string { return &s.Path }), func(s *sensor.Settings) string { return s.Path }},
	{"outside_sys", "Whether the file may lie outside /sys. Default: false.", "file", func(s *sensor.Settings, v string) (err error) {
		if s.OutOfSys, err = strconv.ParseBool(v); err != nil {
			err = fmt.Errorf("%q: use true or false", v)
		}
		return err
	}, func(s *sensor.Settings) string { return strconv.FormatBool(s.OutOfSys) }},
	{"pattern", "Regular expression whose only group is the number in the file. Default: the first number.", "file", sensorText(func(s *sensor.Settings) *string { return &s.Pattern }), func(s *sensor.Settings) string { return s.Pattern }},
	{"unit", "Name of the value in events. Default: as the kernel's file is called, else value.", "iio, hwmon, file", func(s *sensor.Settings, v string) error {
		if s.Unit = v; v == "" || len(v) > 32 || strings.Trim(v, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || v == "error" || v == "simulated" {
			return fmt.Errorf("%q: use up to 32 lower-case letters, digits and _, but neither error nor simulated", v)
		}
		return nil
	}, func(s *sensor.Settings) string { return s.Unit }},
	{"scale", "What the number is multiplied with. Default: 1.", "iio, hwmon, file", sensorNumber(func(s *sensor.Settings) *float64 { return &s.Scale }, -math.MaxFloat32, math.MaxFloat32), sensorNumberText(func(s *sensor.Settings) *float64 { return &s.Scale })},
	{"offset", "What is added after that. Default: 0.", "files", sensorNumber(func(s *sensor.Settings) *float64 { return &s.Offset }, -math.MaxFloat32, math.MaxFloat32), sensorNumberText(func(s *sensor.Settings) *float64 { return &s.Offset })},
	{"channel", "Input of the converter: 0 to 3, or a difference: 0-1, 0-3, 1-3, 2-3. Default: 0.", "ads1115", sensorText(func(s *sensor.Settings) *string { return &s.Channel }), func(s *sensor.Settings) string { return s.Channel }},
	{"max_volt", "Largest voltage to be read, up to 6.144; less is read more exactly. Default: 4.096.", "ads1115", sensorNumber(func(s *sensor.Settings) *float64 { return &s.MaxVolt }, 0.001, 6.144), sensorNumberText(func(s *sensor.Settings) *float64 { return &s.MaxVolt })},
	{"shunt_ohm", "Resistor that the current is measured with. Default: 0.1.", "ina219", sensorNumber(func(s *sensor.Settings) *float64 { return &s.Shunt }, 0.0001, 100), sensorNumberText(func(s *sensor.Settings) *float64 { return &s.Shunt })},
	{"max_ampere", "Largest current to be read. Default: 3.2.", "ina219", sensorNumber(func(s *sensor.Settings) *float64 { return &s.MaxAmp }, 0.01, 1000), sensorNumberText(func(s *sensor.Settings) *float64 { return &s.MaxAmp })},
	{"app", "App whose topic it publishes to. Default: default.", "", func(s *sensor.Settings, v string) error {
		s.App = v
		return check.AppName(v)
	}, func(s *sensor.Settings) string { return s.App }},
	{"topic", "Topic of its events. Default: sensors/NAME.", "", sensorText(func(s *sensor.Settings) *string { return &s.Topic }), func(s *sensor.Settings) string { return s.Topic }},
	{"every", "Time between readings, such as 500ms, 10s or 5m, from 100ms to 24h. Default: 10s.", "", func(s *sensor.Settings, v string) error {
		return sensorTime(&s.Every, v)
	}, func(s *sensor.Settings) string { return s.Every.String() }},
	{"min_change", "By how much a value must have moved since the event before to be published: a number, or one for each unit, as in {celsius = 0.2, percent = 1}. Default: every reading is published.", "", func(s *sensor.Settings, v string) error {
		return minChange(s, sensor.AnyUnit, v)
	}, minChanges},
	{"at_least", "Time after which a value is published though it has not moved. Default: never.", "", func(s *sensor.Settings, v string) error {
		return sensorTime(&s.AtLeast, v)
	}, func(s *sensor.Settings) string { return s.AtLeast.String() }},
	{"durability", "What the topic is registered with, unless it is registered: telemetry (on the card within a second), or sync, for which nothing is registered. Default: telemetry.", "", func(s *sensor.Settings, v string) error {
		if s.Durability = picloud.Durability(v); v != string(picloud.DurabilitySync) && v != string(picloud.DurabilityTelemetry) {
			return fmt.Errorf("%q: use telemetry or sync", v)
		}
		return nil
	}, func(s *sensor.Settings) string { return string(s.Durability) }},
}

func sensorText(at func(*sensor.Settings) *string) func(*sensor.Settings, string) error {
	return func(s *sensor.Settings, v string) error {
		*at(s) = v
		return nil
	}
}

func sensorNumber(at func(*sensor.Settings) *float64, lo, hi float64) func(*sensor.Settings, string) error {
	return func(s *sensor.Settings, v string) error {
		n, err := strconv.ParseFloat(v, 64)
		switch {
		case err != nil || math.IsNaN(n):
			return fmt.Errorf("%q: use a number", v)
		case n < lo || n > hi:
			return fmt.Errorf("%q: use a number from %v to %v", v, lo, hi)
		}
		*at(s) = n
		return nil
	}
}

func sensorNumberText(at func(*sensor.Settings) *float64) func(*sensor.Settings) string {
	return func(s *sensor.Settings) string { return strconv.FormatFloat(*at(s), 'g', -1, 64) }
}

func sensorTime(at *time.Duration, v string) error {
	d, err := time.ParseDuration(v)
	if err != nil || d < sensor.MinEvery || d > sensor.MaxEvery {
		return fmt.Errorf("%q: use a time from 100ms to 24h with its unit, such as 10s", v)
	}
	*at = d
	return nil
}

func minChange(s *sensor.Settings, unit, v string) error {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || !(n > 0) || math.IsInf(n, 0) {
		return fmt.Errorf("%q: use a number above 0", v)
	}
	s.MinChange = maps.Clone(s.MinChange)
	if s.MinChange == nil {
		s.MinChange = sensor.Changes{}
	}
	s.MinChange[unit] = n
	return nil
}

func minChanges(s *sensor.Settings) string {
	if n, ok := s.MinChange[sensor.AnyUnit]; ok && len(s.MinChange) == 1 {
		return strconv.FormatFloat(n, 'g', -1, 64)
	}
	var parts []string
	for _, unit := range slices.Sorted(maps.Keys(s.MinChange)) {
		parts = append(parts, fmt.Sprintf("%s = %v", cmp.Or(unit, "others"), s.MinChange[unit]))
	}
	return strings.Join(parts, ", ")
}

// sensorKey takes a key such as hw.sensors.room.every apart.
func sensorKey(key string) (name, field string, ok bool) {
	rest, ok := strings.CutPrefix(key, sensorTable)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ".")
}

// setSensor says something of a sensor, which is made when it is named first.
func (c *Config) setSensor(name, field, text string) error {
	if check.AppName(name) != nil {
		return fmt.Errorf("%q cannot be the name of a sensor: use lower-case letters, digits and -, beginning with a letter", name)
	}
	at := slices.IndexFunc(c.Sensors, func(s sensor.Settings) bool { return s.Name == name })
	if at < 0 {
		at = len(c.Sensors)
		c.Sensors = append(slices.Clone(c.Sensors), sensor.Defaults(name))
	}
	if unit, ok := strings.CutPrefix(field, "min_change."); ok {
		return minChange(&c.Sensors[at], unit, text)
	}
	i := slices.IndexFunc(SensorSettings, func(s SensorSetting) bool { return s.Key == field })
	if i < 0 {
		keys := make([]string, len(SensorSettings))
		for i := range SensorSettings {
			keys[i] = SensorSettings[i].Key
		}
		hint := ""
		if best := check.Nearest(field, keys); best != "" {
			hint = fmt.Sprintf("; did you mean %s?", best)
		}
		return fmt.Errorf("unknown setting of a sensor%s; there are %s", hint, strings.Join(keys, ", "))
	}
	return SensorSettings[i].set(&c.Sensors[at], text)
}

// checkSensors completes the sensors, and finds faults between their settings.
func (c *Config) checkSensors() (faults []error) {
	c.Sensors = slices.Clone(c.Sensors)
	for i := range c.Sensors {
		s := &c.Sensors[i]
		add := func(key string, err error) {
			faults = append(faults, c.faultAt(sensorTable+s.Name+"."+key, err))
		}
		for _, one := range SensorSettings {
			if c.given(sensorTable+s.Name+"."+one.Key) && !sensor.Takes(s.Driver, one.Key) {
				add(one.Key, fmt.Errorf("the driver %s has no use for it", s.Driver))
			}
		}
		complete, wrong := s.Complete()
		for _, key := range slices.Sorted(maps.Keys(wrong)) {
			add(key, wrong[key])
		}
		*s = complete
		for k := range c.Sensors[:i] {
			q := &c.Sensors[k]
			if len(wrong) == 0 && q.Conflict(s) != nil {
				add("driver", fmt.Errorf("as %s%s: %w", sensorTable, q.Name, q.Conflict(s)))
			}
			if q.App == s.App && q.Topic == s.Topic {
				add("topic", errors.New("it is also that of "+sensorTable+q.Name+"; sensors need topics of their own"))
			}
		}
	}
	return faults
}

// showSensors writes what is said of the sensors as the file would.
func (c Config) showSensors(b *strings.Builder) {
	sensors := slices.Clone(c.Sensors)
	slices.SortFunc(sensors, func(s, q sensor.Settings) int { return cmp.Compare(s.Name, q.Name) })
	for i := range sensors {
		s := &sensors[i]
		for _, one := range SensorSettings {
			if sensor.Takes(s.Driver, one.Key) {
				fmt.Fprintf(b, "%-34s %s\n", sensorTable+s.Name+"."+one.Key, one.get(s))
			}
		}
	}
}
