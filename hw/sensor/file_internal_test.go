package sensor

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/picloud/picloud/board"
)

// fromRoot reads a sensor of a machine's files once.
func fromRoot(t *testing.T, root string, s Settings) (out board.Sensor) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPoller(Config{Sensors: []Settings{s}, Publisher: newRecorder(), Topics: newTopics()}.withRoot(root), nil)
		values, err := p.probes[0].read(t.Context())
		p.probes[0].note(values, err)
		out = p.Sensors()[0]
	})
	return out
}

// kernelFiles are those of a Raspberry Pi with a DS18B20, a BME280 and an ADC that the
// kernel's own drivers run, and its own monitor of the supply.
var kernelFiles = map[string]string{
	"sys/bus/w1/devices/28-0316a2795b1f/temperature":            "21312\n",
	"sys/bus/w1/devices/28-0316a2795b1f/name":                   "28-0316a2795b1f\n",
	"sys/bus/iio/devices/iio:device0/name":                      "bme280\n",
	"sys/bus/iio/devices/iio:device0/in_temp_input":             "23450\n",
	"sys/bus/iio/devices/iio:device0/in_pressure_input":         "101.325000000\n",
	"sys/bus/iio/devices/iio:device0/in_humidityrelative_input": "44120\n",
	"sys/bus/iio/devices/iio:device1/name":                      "mcp3208\n",
	"sys/bus/iio/devices/iio:device1/in_voltage0_raw":           "2048\n",
	"sys/bus/iio/devices/iio:device1/in_voltage1-voltage2_raw":  "-100\n",
	"sys/bus/iio/devices/iio:device1/in_voltage_scale":          "0.805664062\n",
	"sys/bus/iio/devices/iio:device1/in_timestamp_input":        "1\n",
	"sys/bus/iio/devices/iio:device2/name":                      "tmp006\n",
	"sys/bus/iio/devices/iio:device2/in_temp_raw":               "100\n",
	"sys/bus/iio/devices/iio:device2/in_temp_scale":             "31.25\n",
	"sys/bus/iio/devices/iio:device2/in_temp_offset":            "-20\n",
	"sys/class/hwmon/hwmon0/name":                               "ina2xx\n",
	"sys/class/hwmon/hwmon0/in1_input":                          "11980\n",
	"sys/class/hwmon/hwmon0/curr1_input":                        "10000\n",
	"sys/class/hwmon/hwmon0/power1_input":                       "119800000\n",
	"sys/class/hwmon/hwmon0/fan1_input":                         "1200\n",
	"sys/class/hwmon/hwmon0/humidity1_input":                    "50500\n",
	"proc/loadavg":                                              "0.52 0.58 0.59 1/389 12345\n",
	"run/meter":                                                 "total=12 now=-3.5e2 W\n",
	"run/text":                                                  "none\n",
}

// HW-4: values of the kernel's files are in the units that their names say.
func TestFilesOfTheKernel(t *testing.T) {
	t.Parallel()
	root := machine(t, kernelFiles)
	iio := func(file string) string { return "/sys/bus/iio/devices/iio:device" + file }
	outside := func(s *Settings) { s.OutOfSys = true }
	for _, c := range []struct {
		driver, path string
		more         func(*Settings)
		unit         string
		want         float64
	}{
		{driverDS18B20, "", nil, celsius, 21.312},
		{driverDS18B20, "/sys/bus/w1/devices/28-0316a2795b1f/temperature", func(s *Settings) { s.Offset = -0.5 }, celsius, 20.812},
		{driverIIO, iio("0/in_temp_input"), nil, celsius, 23.45},
		{driverIIO, iio("*/in_humidityrelative_input"), nil, percent, 44.12},
		{driverIIO, iio("0/in_pressure_input"), nil, hectopascal, 1013.25},
		{driverIIO, iio("1/in_voltage0_raw"), nil, volt, 1.65},
		{driverIIO, iio("1/in_voltage1-voltage2_raw"), nil, volt, -0.1},
		{driverIIO, iio("1/in_voltage0_raw"), func(s *Settings) { s.Unit, s.Scale, s.Offset = "bar", 2, 1 }, "bar", 4.3},
		{driverIIO, iio("2/in_temp_raw"), nil, celsius, 2.5},
		{driverHwmon, "/sys/class/hwmon/hwmon*/in1_input", nil, volt, 11.98},
		{driverHwmon, "/sys/class/hwmon/hwmon0/curr1_input", nil, ampere, 10},
		{driverHwmon, "/sys/class/hwmon/hwmon0/power1_input", nil, watt, 119.8},
		{driverHwmon, "/sys/class/hwmon/hwmon0/fan1_input", nil, rpm, 1200},
		{driverHwmon, "/sys/class/hwmon/hwmon0/humidity1_input", nil, percent, 50.5},
		{driverFile, "/proc/loadavg", func(s *Settings) { outside(s); s.Pattern = `^(\S+)` }, anyValue, 0.52},
		{driverFile, "/run/meter", func(s *Settings) { outside(s); s.Pattern, s.Unit, s.Scale = `now=(\S+)`, watt, 0.5 }, watt, -175},
	} {
		s := complete(t, "x", c.driver, func(s *Settings) {
			s.Path = c.path
			if c.more != nil {
				c.more(s)
			}
		})
		got := fromRoot(t, root, s)
		if n, ok := got.Values[c.unit]; !ok || len(got.Values) != 1 || n < c.want-1e-4 || n > c.want+1e-4 {
			t.Errorf("%s %s: %v, %q; want %v %s", c.driver, c.path, got.Values, got.Fault, c.want, c.unit)
		}
	}
}

// HW-4: files that are missing, closed, or without a number are faults that say what to
// do; a pipe holds up nothing, and 85 °C of a DS18B20 that has not measured is no value.
func TestFilesWithoutAValue(t *testing.T) {
	t.Parallel()
	root := machine(t, kernelFiles)
	if err := syscall.Mkfifo(filepath.Join(root, "run/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("circle", filepath.Join(root, "run/circle")); err != nil {
		t.Fatal(err)
	}
	twice := machine(t, map[string]string{"sys/bus/w1/devices/28-1/temperature": "1\n", "sys/bus/w1/devices/28-2/temperature": "2\n"})
	unpowered := machine(t, map[string]string{"sys/bus/w1/devices/28-1/temperature": "85000\n"})
	empty := machine(t, map[string]string{"sys/bus/w1/devices/28-1/temperature": ""})
	for _, c := range []struct{ root, driver, path, want string }{
		{t.TempDir(), driverDS18B20, "", "dtoverlay=w1-gpio"},
		{twice, driverDS18B20, "", "fits 2 files, such as /sys/bus/w1/devices/28-1/temperature and /sys/bus/w1/devices/28-2/temperature"},
		{unpowered, driverDS18B20, "", "exactly 85 °C"},
		{empty, driverDS18B20, "", "has no number"},
		{root, driverFile, "/run/text", "/run/text is not one decimal number alone, such as -21.5; say with pattern where in it the number is"},
		{root, driverFile, "/run/circle", "leads in a circle of symbolic links"},
		{root, driverFile, "/run/pipe", "is no regular file but a pipe, and was not opened"},
		{root, driverFile, "/run", "is no regular file but a folder"},
		{"/", driverFile, "/dev/null", "is no regular file but a device, and was not opened"},
		{"/", driverFile, "/proc/self/mem", "the kernel cannot read /proc/self/mem: input/output error"},
		{root, driverFile, "/run/gone", "nothing is at /run/gone"},
	} {
		s := complete(t, "x", c.driver, func(s *Settings) { s.Path, s.OutOfSys = c.path, c.driver == driverFile })
		if got := fromRoot(t, c.root, s); !strings.Contains(got.Fault, c.want) || got.Values != nil {
			t.Errorf("%s %s: %v, %q; want %q", c.driver, c.path, got.Values, got.Fault, c.want)
		}
	}
	s := complete(t, "x", driverFile, func(s *Settings) { s.Path, s.OutOfSys = "/run/meter", true })
	for err, want := range map[error]string{os.ErrPermission: "is closed to this user", syscall.EIO: "the kernel cannot read", syscall.ENODEV: "is gone"} {
		if got := s.explainFile(err); !strings.Contains(got.Error(), want) {
			t.Errorf("%v: %v", err, got)
		}
	}
}
