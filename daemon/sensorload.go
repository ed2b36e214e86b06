package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/VictoriaMetrics/metrics"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/picloud/picloud/board"
	"github.com/picloud/picloud/check"
	"github.com/picloud/picloud/hw"
	"github.com/picloud/picloud/hw/sensor"
)

// sensorKey takes a key such as hw.sensors.room.every apart.
func sensorKey(key string) (name, field string, ok bool) {
	rest, ok := strings.CutPrefix(key, sensorTable)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ".")
}

// openSensor returns the sensor that a table is about, which is made when it is named
// first.
func (c *Config) openSensor(name string) (*sensor.Settings, error) {
	if check.AppName(name) != nil {
		return nil, fmt.Errorf("%q cannot be the name of a sensor: use lower-case letters, digits and -, beginning with a letter", name)
	}
	at := slices.IndexFunc(c.Sensors, func(s sensor.Settings) bool { return s.Name == name })
	if at < 0 {
		at = len(c.Sensors)
		c.Sensors = append(slices.Clone(c.Sensors), sensor.Defaults(name))
	}
	return &c.Sensors[at], nil
}

// minChangeTable is the setting that may be a table: a number for each unit.
const minChangeTable = "min_change"

// setSensor says something of a sensor.
func (c *Config) setSensor(name, field string, value *unstable.Node) error {
	s, err := c.openSensor(name)
	if err != nil {
		return err
	}
	if unit, ok := strings.CutPrefix(field, minChangeTable+"."); ok {
		f := minChange(unit)
		return f.apply(s, value)
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
	return SensorSettings[i].apply(s, value)
}

// checkSensors completes the sensors, and finds faults between their settings.
func (c *Config) checkSensors() (faults []fault) {
	c.Sensors = slices.Clone(c.Sensors)
	for i := range c.Sensors {
		s := &c.Sensors[i]
		add := func(key string, err error) {
			faults = append(faults, fault{sensorTable + s.Name + "." + key, err})
		}
		for k := range SensorSettings {
			one := &SensorSettings[k]
			if c.given(sensorTable+s.Name+"."+one.Key) && !sensor.Takes(s.Driver, one.Key) {
				add(one.Key, fmt.Errorf("the driver %s has no use for it", s.Driver))
			}
		}
		if c.given(sensorTable+s.Name+"."+minChangeTable) && len(s.MinChange) == 0 {
			add(minChangeTable, errors.New("use a number, or one for each unit, as in {celsius = 0.2, percent = 1}"))
		}
		complete, wrong := s.Complete()
		if _, ok := wrong["path"]; !ok && !isChannel(s.Driver, complete.Path) {
			wrong["path"] = fmt.Errorf("%q is no channel of %s: it lies below none of its devices; 'picloud hw scan' lists them", complete.Path, s.Driver)
		}
		for _, key := range slices.Sorted(maps.Keys(wrong)) {
			add(key, wrong[key])
		}
		*s = complete
		if slices.ContainsFunc(c.Pins, func(p hw.PinConfig) bool { return !p.Output && p.App == s.App && p.Name == s.Name }) {
			add("driver", fmt.Errorf("the input hw.%s.%s of the same app has that name, so that events of both would be from device:%s", pinInputs, s.Name, s.Name))
		}
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

// isChannel reports whether the path of a channel of the kernel leads through a device of
// its kind, as /sys/class/hwmon/hwmon0/temp1_input and what /sys/devices has for it.
func isChannel(driver, path string) bool {
	switch driver {
	case "iio", "hwmon":
		return strings.Contains(path, "/"+driver)
	}
	return true
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

// writeSensors exports what the sensors have read last. Of one that cannot be read there
// is no value.
func writeSensors(w io.Writer, sensors []board.Sensor) {
	for i := range sensors {
		s := &sensors[i]
		faulty := 0.0
		if s.Fault != "" {
			faulty = 1
		}
		simulated := strconv.FormatBool(s.Simulated)
		metrics.WriteGaugeFloat64(w, fmt.Sprintf("picloud_sensor_faulty{sensor=%q,simulated=%q}", s.Name, simulated), faulty)
		for _, unit := range slices.Sorted(maps.Keys(s.Values)) {
			if faulty == 0 {
				metrics.WriteGaugeFloat64(w, fmt.Sprintf("picloud_sensor_value{sensor=%q,unit=%q,simulated=%q}", s.Name, unit, simulated), s.Values[unit])
			}
		}
	}
}
