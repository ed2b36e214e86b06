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
	field[sensor.Settings]
}

// SensorSettings is the table of what can be said of a sensor.
var SensorSettings = []SensorSetting{
	{"driver", "Kind of sensor: " + strings.Join(sensor.Drivers(), ", ") + ".", "", text(func(s *sensor.Settings) *string { return &s.Driver })},
	{"bus", "Number N of the bus /dev/i2c-N. Default: 1, which is on the header of a Raspberry Pi.", "I²C", busNumber},
	{"address", "Address on the bus, such as 0x76. Default: the usual one of the driver.", "I²C", busAddress},
	{
		"path", "File with the value, below /sys; * stands for any name where one file alone fits. Default for ds18b20: the only one there is.", "files",
		text(func(s *sensor.Settings) *string { return &s.Path }),
	},
	{"outside_sys", "Whether the file may lie outside /sys. Default: false.", "file", yesNo(func(s *sensor.Settings) *bool { return &s.OutOfSys })},
	{
		"pattern", "Regular expression whose only group is the number in the file. Default: the file holds one decimal number alone.", "file",
		text(func(s *sensor.Settings) *string { return &s.Pattern }),
	},
	{
		"unit", "Name of the value in events. Default: as the kernel's file is called, else value.", "iio, hwmon, file",
		checked(func(s *sensor.Settings) *string { return &s.Unit }, checkUnit),
	},
	{
		"scale", "What the number is multiplied with. Default: 1.", "iio, hwmon, file",
		notZero(decimal(func(s *sensor.Settings) *float64 { return &s.Scale }, -1e12, 1e12)),
	},
	{"offset", "What is added after that. Default: 0.", "files", decimal(func(s *sensor.Settings) *float64 { return &s.Offset }, -1e12, 1e12)},
	{"channel", "Input of the converter: 0 to 3, or a difference: 0-1, 0-3, 1-3, 2-3. Default: 0.", "ads1115", converterChannel},
	{
		"max_volt", "Largest voltage to be read, up to 6.144; less is read more exactly. Default: 4.096.", "ads1115",
		decimal(func(s *sensor.Settings) *float64 { return &s.MaxVolt }, 0.001, 6.144),
	},
	{"shunt_ohm", "Resistor that the current is measured with. Default: 0.1.", "ina219", decimal(func(s *sensor.Settings) *float64 { return &s.Shunt }, 0.0001, 100)},
	{"max_ampere", "Largest current to be read. Default: 3.2.", "ina219", decimal(func(s *sensor.Settings) *float64 { return &s.MaxAmp }, 0.01, 1000)},
	{"app", "App whose topic it publishes to. Default: default.", "", checked(func(s *sensor.Settings) *string { return &s.App }, check.AppName)},
	{"topic", "Topic of its events. Default: sensors/NAME.", "", text(func(s *sensor.Settings) *string { return &s.Topic })},
	{
		"every", "Time between readings, such as 500ms, 10s or 5m, from 100ms to 24h. Default: 10s.", "",
		interval(func(s *sensor.Settings) *time.Duration { return &s.Every }, sensor.MinEvery, sensor.MaxEvery),
	},
	{
		minChangeTable, "By how much a value must have moved since the event before to be published: a number, or one for each unit, as in " +
			"{celsius = 0.2, percent = 1}. Default: every reading is published.", "", minChange(sensor.AnyUnit),
	},
	{
		"at_least", "Time after which a value is published though it has not moved. Default: never.", "",
		interval(func(s *sensor.Settings) *time.Duration { return &s.AtLeast }, sensor.MinEvery, sensor.MaxEvery),
	},
	{
		"durability", "What the topic is registered with, unless it is registered: telemetry (on the card within a second), or sync, " +
			"for which nothing is registered. Default: telemetry.", "",
		oneOf(func(s *sensor.Settings) *picloud.Durability { return &s.Durability }, picloud.DurabilityTelemetry, picloud.DurabilitySync),
	},
}

var busNumber = field[sensor.Settings]{
	Form: Form{Kind: KindNumber, Values: fmt.Sprintf("0 to %d", math.MaxUint8)},
	set: func(s *sensor.Settings, v string) error {
		n, err := whole(v)
		if err != nil || n < 0 || n > math.MaxUint8 {
			return fmt.Errorf("%q: use the number of a bus, such as 1 for /dev/i2c-1", v)
		}
		s.Bus = int(n)
		return nil
	},
	get: func(s *sensor.Settings) string { return strconv.Itoa(s.Bus) },
}

var busAddress = field[sensor.Settings]{
	Form: Form{Kind: KindNumber, Values: fmt.Sprintf("%#02x to %#x", sensor.FirstAddress, sensor.LastAddress)},
	set: func(s *sensor.Settings, v string) error {
		n, err := whole(v)
		if err != nil || n < sensor.FirstAddress || n > sensor.LastAddress {
			return fmt.Errorf("%q: use an address from %#02x to %#x", v, sensor.FirstAddress, sensor.LastAddress)
		}
		s.Address = uint16(n)
		return nil
	},
	get: func(s *sensor.Settings) string { return fmt.Sprintf("%#x", s.Address) },
}

var converterChannel = func() field[sensor.Settings] {
	f := text(func(s *sensor.Settings) *string { return &s.Channel })
	f.Kind = KindChannel
	return f
}()

// checkUnit returns nil for a name that the value of a sensor can have in events.
func checkUnit(v string) error {
	if v == "" || len(v) > 32 || strings.Trim(v, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || v == "error" || v == "simulated" {
		return fmt.Errorf("%q: use up to 32 lower-case letters, digits and _, but neither error nor simulated", v)
	}
	return nil
}

// decimal is a number within bounds.
func decimal(at func(*sensor.Settings) *float64, lo, hi float64) field[sensor.Settings] {
	return field[sensor.Settings]{
		Form: Form{Kind: KindDecimal, Values: fmt.Sprintf("%v to %v", lo, hi)},
		set: func(s *sensor.Settings, v string) error {
			n, err := parseDecimal(v)
			if err != nil || !(n >= lo && n <= hi) { // also of what is not a number
				return fmt.Errorf("%q: use a number from %v to %v", v, lo, hi)
			}
			*at(s) = n
			return nil
		},
		get: func(s *sensor.Settings) string { return strconv.FormatFloat(*at(s), 'g', -1, 64) },
	}
}

// parseDecimal reads a number with or without a fraction, as TOML has it.
func parseDecimal(v string) (float64, error) {
	if n, err := whole(v); err == nil {
		return float64(n), nil
	}
	return strconv.ParseFloat(v, 64)
}

// notZero is a number with which 0 would make every value the same.
func notZero(f field[sensor.Settings]) field[sensor.Settings] {
	set := f.set
	f.set = func(s *sensor.Settings, v string) error {
		if n, err := parseDecimal(v); err == nil && n == 0 {
			return fmt.Errorf("%q: use a number other than 0", v)
		}
		return set(s, v)
	}
	return f
}

// minChange is the number of one unit in the setting min_change.
func minChange(unit string) field[sensor.Settings] {
	return field[sensor.Settings]{
		Form: Form{Kind: KindDecimal, Values: "above 0"},
		set: func(s *sensor.Settings, v string) error {
			n, err := parseDecimal(v)
			if err != nil || !(n > 0) || math.IsInf(n, 0) {
				return fmt.Errorf("%q: use a number above 0", v)
			}
			s.MinChange = maps.Clone(s.MinChange)
			if s.MinChange == nil {
				s.MinChange = sensor.Changes{}
			}
			s.MinChange[unit] = n
			return nil
		},
		get: minChanges,
	}
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
