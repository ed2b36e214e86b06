package sensor

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// kind is what a channel of the kernel measures, by the beginning of its name.
type kind struct {
	prefix string
	unit   string
	scale  float64 // from the kernel's unit
}

// Channels of IIO (Documentation/ABI/testing/sysfs-bus-iio) and of hwmon
// (Documentation/hwmon/sysfs-interface.rst).
var (
	iioKinds = []kind{
		{"in_temp", celsius, 1e-3},
		{"in_humidityrelative", percent, 1e-3},
		{"in_pressure", hectopascal, 10},
		{"in_illuminance", lux, 1},
		{"in_voltage", volt, 1e-3},
		{"in_current", ampere, 1e-3},
		{"in_power", watt, 1e-3},
		{"in_resistance", ohm, 1},
		{"in_concentration_co2", ppm, 1e4},
	}
	hwmonKinds = []kind{
		{"temp", celsius, 1e-3}, {"humidity", percent, 1e-3}, {"in", volt, 1e-3}, {"curr", ampere, 1e-3}, {"power", watt, 1e-6}, {"fan", rpm, 1},
	}
)

// kindOf returns what a channel of IIO or hwmon measures; of an unknown one the number is
// kept as it is. Channels of hwmon are numbered always, those of IIO where there are more.
func kindOf(driver, path string) kind {
	kinds := iioKinds
	if driver == driverHwmon {
		kinds = hwmonKinds
	}
	for _, k := range kinds {
		rest, ok := strings.CutPrefix(filepath.Base(path), k.prefix)
		after := strings.TrimLeft(rest, "0123456789")
		if ok && (strings.HasPrefix(after, "_") || strings.HasPrefix(after, "-")) && (driver != driverHwmon || after != rest) {
			return k
		}
	}
	return kind{unit: anyValue, scale: 1}
}

// readDS18B20 reads a temperature in thousandths of a degree. 85 °C is what the device
// has when it was powered and has not measured yet.
func readDS18B20(path string, s *Settings) ([]Value, error) {
	n, err := s.number(path)
	if err != nil {
		return nil, err
	}
	if n == 85000 {
		return nil, faultf("it gives exactly 85 °C, as it does when it has not measured: check its supply and the resistor of 4.7 kΩ")
	}
	return []Value{{celsius, n/1e3 + s.Offset}}, nil
}

func readHwmon(path string, s *Settings) ([]Value, error) {
	n, err := s.number(path)
	return []Value{{s.Unit, n*kindOf(s.Driver, path).scale*s.Scale + s.Offset}}, err
}

// readIIO reads a channel of IIO. A raw one has its scale and its offset in files beside it.
func readIIO(path string, s *Settings) ([]Value, error) {
	n, err := s.number(path)
	if err != nil {
		return nil, err
	}
	if base, raw := strings.CutSuffix(path, "_raw"); raw {
		offset, err := s.beside(base, "_offset", 0)
		if err != nil {
			return nil, err
		}
		scale, err := s.beside(base, "_scale", 1)
		if err != nil {
			return nil, err
		}
		n = (n + offset) * scale
	}
	return []Value{{s.Unit, n*kindOf(s.Driver, path).scale*s.Scale + s.Offset}}, nil
}

// beside reads a file that a channel has for itself or shares with others of its kind.
func (s *Settings) beside(base, suffix string, otherwise float64) (float64, error) {
	for _, name := range []string{base, strings.TrimRight(base, "0123456789")} {
		n, err := s.number(name + suffix)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return n, err
		}
	}
	return otherwise, nil
}

func readFile(path string, s *Settings) ([]Value, error) {
	n, err := s.number(path)
	return []Value{{s.Unit, n*s.Scale + s.Offset}}, err
}

// resolve returns the one file that the path of a sensor matches below the root.
func (s *Settings) resolve(ctx context.Context, root string) (string, error) {
	names, err := find(ctx, root, s.Path)
	if err != nil {
		return "", s.explainFile(err)
	}
	switch len(names) {
	case 0:
		if s.Driver == driverDS18B20 {
			return "", faultf("nothing is at %s: check the wires and the resistor of 4.7 kΩ; %s", s.Path, getWire)
		}
		return "", faultf("nothing is at %s; 'picloud hw scan' lists the files of sensors", s.Path)
	case 1:
		return names[0], nil
	}
	inside := func(name string) string {
		return "/" + strings.TrimLeft(strings.TrimPrefix(name, filepath.Clean(root)), "/")
	}
	return "", faultf("%s fits %d files, such as %s and %s: name one", s.Path, len(names), shown(inside(names[0])), shown(inside(names[1])))
}

// explainFile words an error of a file for people. Behind one of the driver file there may
// be no device at all.
func (s *Settings) explainFile(err error) error {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	device := s.Driver != driverFile
	switch {
	case errors.Is(err, fs.ErrPermission):
		return faultf("%s is closed to this user: change its permissions, or let the user join its group, and restart the node", s.Path)
	case errors.Is(err, unix.ELOOP):
		return faultf("%s leads in a circle of symbolic links", s.Path)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		if !device {
			return faultf("%s is gone", s.Path)
		}
		return faultf("the device of %s is gone: check its wires and its supply", s.Path)
	case device:
		return faultf("the kernel cannot read the sensor of %s: check its wires and its supply", s.Path)
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return faultf("the kernel cannot read %s: %v", s.Path, errno)
	}
	return faultf("%s cannot be read", s.Path)
}
