package daemon

import (
	"cmp"
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
	{
		Key: "driver", Text: "Kind of sensor: " + strings.Join(sensor.Drivers(), ", ") + ".",
		set: sensorText(func(s *sensor.Settings) *string { return &s.Driver }),
		get: func(s *sensor.Settings) string { return s.Driver },
	},
	{
		Key: "bus", For: "I²C", Text: "Number N of the bus /dev/i2c-N. Default: 1, which is on the header of a Raspberry Pi.",
		set: func(s *sensor.Settings, v string) error {
			n, err := strconv.ParseUint(v, 10, 8)
			if err != nil {
				return fmt.Errorf("%q: use the number of a bus, such as 1 for /dev/i2c-1", v)
			}
			s.Bus = int(n)
			return nil
		},
		get: func(s *sensor.Settings) string { return strconv.Itoa(s.Bus) },
	},
	{
		Key: "address", For: "I²C", Text: "Address on the bus, such as 0x76. Default: the usual one of the driver.",
		set: func(s *sensor.Settings, v string) error {
			n, err := strconv.ParseUint(v, 0, 16)
			if err != nil || n < sensor.FirstAddress || n > sensor.LastAddress {
				return fmt.Errorf("%q: use an address from %#02x to %#x", v, sensor.FirstAddress, sensor.LastAddress)
			}
			s.Address = uint16(n)
			return nil
		},
		get: func(s *sensor.Settings) string { return fmt.Sprintf("%#x", s.Address) },
	},
	{
		Key: "path", For: "files",
		Text: "File with the value, below /sys; * stands for any name where one file alone fits. Default for ds18b20: the only one there is.",
		set:  sensorText(func(s *sensor.Settings) *string { return &s.Path }),
		get:  func(s *sensor.Settings) string { return s.Path },
	},
	{
		Key: "outside_sys", For: "file", Text: "Whether the file may lie outside /sys. Default: false.",
		set: func(s *sensor.Settings, v string) (err error) {
			if s.OutOfSys, err = strconv.ParseBool(v); err != nil {
				err = fmt.Errorf("%q: use true or false", v)
			}
			return err
		},
		get: func(s *sensor.Settings) string { return strconv.FormatBool(s.OutOfSys) },
	},
	{
		Key: "pattern", For: "file",
		Text: "Regular expression whose only group is the number in the file. Default: the file holds one decimal number alone.",
		set:  sensorText(func(s *sensor.Settings) *string { return &s.Pattern }),
		get:  func(s *sensor.Settings) string { return s.Pattern },
	},
	{
		Key: "unit", For: "iio, hwmon, file", Text: "Name of the value in events. Default: as the kernel's file is called, else value.",
		set: func(s *sensor.Settings, v string) error {
			s.Unit = v
			if v == "" || len(v) > 32 || strings.Trim(v, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || v == "error" || v == "simulated" {
				return fmt.Errorf("%q: use up to 32 lower-case letters, digits and _, but neither error nor simulated", v)
			}
			return nil
		},
		get: func(s *sensor.Settings) string { return s.Unit },
	},
	notZero(sensorNumber("scale", "iio, hwmon, file", "What the number is multiplied with. Default: 1.",
		func(s *sensor.Settings) *float64 { return &s.Scale }, -1e12, 1e12)),
	sensorNumber("offset", "files", "What is added after that. Default: 0.",
		func(s *sensor.Settings) *float64 { return &s.Offset }, -1e12, 1e12),
	{
		Key: "channel", For: "ads1115", Text: "Input of the converter: 0 to 3, or a difference: 0-1, 0-3, 1-3, 2-3. Default: 0.",
		set: sensorText(func(s *sensor.Settings) *string { return &s.Channel }),
		get: func(s *sensor.Settings) string { return s.Channel },
	},
	sensorNumber("max_volt", "ads1115", "Largest voltage to be read, up to 6.144; less is read more exactly. Default: 4.096.",
		func(s *sensor.Settings) *float64 { return &s.MaxVolt }, 0.001, 6.144),
	sensorNumber("shunt_ohm", "ina219", "Resistor that the current is measured with. Default: 0.1.",
		func(s *sensor.Settings) *float64 { return &s.Shunt }, 0.0001, 100),
	sensorNumber("max_ampere", "ina219", "Largest current to be read. Default: 3.2.",
		func(s *sensor.Settings) *float64 { return &s.MaxAmp }, 0.01, 1000),
	{
		Key: "app", Text: "App whose topic it publishes to. Default: default.",
		set: func(s *sensor.Settings, v string) error {
			s.App = v
			return check.AppName(v)
		},
		get: func(s *sensor.Settings) string { return s.App },
	},
	{
		Key: "topic", Text: "Topic of its events. Default: sensors/NAME.",
		set: sensorText(func(s *sensor.Settings) *string { return &s.Topic }),
		get: func(s *sensor.Settings) string { return s.Topic },
	},
	{
		Key: "every", Text: "Time between readings, such as 500ms, 10s or 5m, from 100ms to 24h. Default: 10s.",
		set: func(s *sensor.Settings, v string) error { return sensorTime(&s.Every, v) },
		get: func(s *sensor.Settings) string { return s.Every.String() },
	},
	{
		Key: "min_change",
		Text: "By how much a value must have moved since the event before to be published: a number, or one for each unit, as in " +
			"{celsius = 0.2, percent = 1}. Default: every reading is published.",
		set: func(s *sensor.Settings, v string) error { return minChange(s, sensor.AnyUnit, v) },
		get: minChanges,
	},
	{
		Key: "at_least", Text: "Time after which a value is published though it has not moved. Default: never.",
		set: func(s *sensor.Settings, v string) error { return sensorTime(&s.AtLeast, v) },
		get: func(s *sensor.Settings) string { return s.AtLeast.String() },
	},
	{
		Key: "durability",
		Text: "What the topic is registered with, unless it is registered: telemetry (on the card within a second), or sync, " +
			"for which nothing is registered. Default: telemetry.",
		set: func(s *sensor.Settings, v string) error {
			if v != string(picloud.DurabilitySync) && v != string(picloud.DurabilityTelemetry) {
				return fmt.Errorf("%q: use telemetry or sync", v)
			}
			s.Durability = picloud.Durability(v)
			return nil
		},
		get: func(s *sensor.Settings) string { return string(s.Durability) },
	},
}

func sensorText(at func(*sensor.Settings) *string) func(*sensor.Settings, string) error {
	return func(s *sensor.Settings, v string) error {
		*at(s) = v
		return noControls(v)
	}
}

// sensorNumber is a setting that is a number within bounds.
func sensorNumber(key, drivers, text string, at func(*sensor.Settings) *float64, lo, hi float64) SensorSetting {
	return SensorSetting{
		Key: key, For: drivers, Text: text,
		set: func(s *sensor.Settings, v string) error {
			n, err := strconv.ParseFloat(v, 64)
			switch {
			case err != nil || math.IsNaN(n):
				return fmt.Errorf("%q: use a number", v)
			case n < lo || n > hi:
				return fmt.Errorf("%q: use a number from %v to %v", v, lo, hi)
			}
			*at(s) = n
			return nil
		},
		get: func(s *sensor.Settings) string { return strconv.FormatFloat(*at(s), 'g', -1, 64) },
	}
}

// notZero is a number with which 0 would make every value the same.
func notZero(setting SensorSetting) SensorSetting {
	set := setting.set
	setting.set = func(s *sensor.Settings, v string) error {
		if n, err := strconv.ParseFloat(v, 64); err == nil && n == 0 {
			return fmt.Errorf("%q: use a number other than 0", v)
		}
		return set(s, v)
	}
	return setting
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
