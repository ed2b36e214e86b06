package sensor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/hw/sensor"
)

// HW-4: settings that cannot work are refused, each by its name.
func TestSettingsThatCannotWork(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		driver   string
		set      func(*sensor.Settings)
		key, say string
	}{
		"no driver":       {"", func(*sensor.Settings) {}, "driver", "say which kind"},
		"unknown driver":  {"bme28", func(*sensor.Settings) {}, "driver", "did you mean bme280?"},
		"another address": {"bme280", func(s *sensor.Settings) { s.Address = 0x40 }, "address", "0x40 is no address of this sensor, which can have 0x76, 0x77"},
		"too often":       {"scd4x", func(s *sensor.Settings) { s.Every = time.Second }, "every", "too short"},
		"at_least alone":  {"tmp102", func(s *sensor.Settings) { s.AtLeast = time.Minute }, "at_least", "beside min_change"},
		"at_least below every": {"tmp102", func(s *sensor.Settings) {
			s.AtLeast, s.MinChange = time.Second, sensor.Changes{sensor.AnyUnit: 1}
		}, "at_least", "shorter than every"},
		"another unit":        {"tmp102", func(s *sensor.Settings) { s.MinChange = sensor.Changes{"percent": 1} }, "min_change", "it has celsius"},
		"topic of the system": {"tmp102", func(s *sensor.Settings) { s.Topic = "$board/health" }, "topic", "$"},
		"no such channel":     {"ads1115", func(s *sensor.Settings) { s.Channel = "4" }, "channel", "use one of 0, 0-1"},
		"no path":             {"iio", func(*sensor.Settings) {}, "path", "say which file"},
		"relative":            {"iio", func(s *sensor.Settings) { s.Path = "sys/x" }, "path", "from /"},
		"outside":             {"file", func(s *sensor.Settings) { s.Path = "/etc/shadow" }, "path", "outside /sys"},
		"outside by dots":     {"file", func(s *sensor.Settings) { s.Path = "/sys/../etc/shadow" }, "path", "outside /sys"},
		"outside, of IIO":     {"iio", func(s *sensor.Settings) { s.Path, s.OutOfSys = "/etc/shadow", true }, "path", "outside /sys"},
		"open pattern":        {"iio", func(s *sensor.Settings) { s.Path = "/sys/[" }, "path", "not closed"},
		"no group":            {"file", func(s *sensor.Settings) { s.Path, s.Pattern = "/sys/x", "t=[0-9]+" }, "pattern", "one group"},
		"no expression":       {"file", func(s *sensor.Settings) { s.Path, s.Pattern = "/sys/x", "(" }, "pattern", "one group"},
	} {
		s := sensor.Defaults("x")
		s.Driver = c.driver
		c.set(&s)
		if _, faults := s.Complete(); faults[c.key] == nil || !strings.Contains(faults[c.key].Error(), c.say) {
			t.Errorf("%s: %v", name, faults)
		}
	}
}

// Two sensors are not one device, but for different inputs of one converter.
func TestSettingsThatConflict(t *testing.T) {
	t.Parallel()
	with := func(driver string, set func(*sensor.Settings)) sensor.Settings {
		s := sensor.Defaults("x")
		s.Driver = driver
		if set != nil {
			set(&s)
		}
		s, faults := s.Complete()
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		return s
	}
	for name, c := range map[string]struct {
		a, b sensor.Settings
		want bool
	}{
		"the same device":  {with("bme280", nil), with("bmp280", nil), true},
		"another address":  {with("bme280", nil), with("bme280", func(s *sensor.Settings) { s.Address = 0x77 }), false},
		"another bus":      {with("bme280", nil), with("bme280", func(s *sensor.Settings) { s.Bus = 3 }), false},
		"another input":    {with("ads1115", nil), with("ads1115", func(s *sensor.Settings) { s.Channel = "1" }), false},
		"the same input":   {with("ads1115", nil), with("ads1115", nil), true},
		"files":            {with("ds18b20", nil), with("ds18b20", nil), false},
		"a converter, too": {with("ads1115", nil), with("tmp102", nil), true},
	} {
		if got := c.a.Conflict(&c.b); (got != nil) != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
