package sensor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/board"
)

// searched is a bus that notes which addresses are probed.
type searched struct {
	devices
	answers func(address uint16) error

	mu     sync.Mutex // guards what follows
	probed []uint16
}

func (s *searched) probe(address uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probed = append(s.probed, address)
	return s.answers(address)
}

// search searches a board with two buses, where one sensor is configured.
func search(t *testing.T, root string, open func(int) (transport, error), more ...Settings) board.Scan {
	t.Helper()
	p := newPoller(Config{Sensors: more, Publisher: newRecorder(), Topics: newTopics()}.withRoot(root), open)
	found, err := p.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func text(s board.Scan) string {
	var b strings.Builder
	for _, bus := range s.Buses {
		fmt.Fprintf(&b, "bus %d %s %s\n", bus.Number, bus.Name, bus.Fault)
		for _, d := range bus.Devices {
			fmt.Fprintf(&b, "%#x %q %v\n", d.Address, d.User, d.Drivers)
		}
	}
	for _, f := range s.Files {
		fmt.Fprintf(&b, "%s %s %s %s\n", f.Driver, f.Path, f.Device, f.Unit)
	}
	return b.String() + strings.Join(s.Hints, "\n")
}

// HW-4: a search lists addresses that answer, those in use without disturbing them, and
// files of the kernel; it gives up on a bus that does not move.
func TestScan(t *testing.T) {
	t.Parallel()
	files := map[string]string{"dev/i2c-1": "", "dev/i2c-2": "", "dev/i2c-20": ""}
	maps.Copy(files, kernelFiles)
	root := machine(t, files)
	if err := os.MkdirAll(filepath.Join(root, "sys/bus/i2c/devices/1-0068"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../drivers/rtc-ds1307", filepath.Join(root, "sys/bus/i2c/devices/1-0068/driver")); err != nil {
		t.Fatal(err)
	}
	one := &searched{answers: func(a uint16) error {
		switch a {
		case 0x48, 0x50:
			return nil
		case 0x68:
			return unix.EBUSY
		}
		return unix.EREMOTEIO
	}}
	stuck := &searched{answers: func(uint16) error { return unix.ETIMEDOUT }}
	open := func(n int) (transport, error) {
		switch n {
		case 1:
			return one, nil
		case 2:
			return stuck, nil
		}
		return nil, unix.EACCES
	}
	got := text(search(t, root, open, complete(t, "room", "bme280", nil)))
	want := `bus 1 test 
0x48 "" [ads1115 ina219 tmp102]
0x50 "" []
0x68 "the kernel's driver rtc-ds1307" []
0x76 "hw.sensors.room" [bme280 bmp280]
bus 2 test the bus i2c-2 does not get anywhere: check the wires for a short, and that each device has its supply
bus 20  /dev/i2c-20 is closed to this user: let it join the group of that device, as in 'usermod -aG i2c picloud', and restart the node
ds18b20 /sys/bus/w1/devices/28-0316a2795b1f/temperature 28-0316a2795b1f celsius
iio /sys/bus/iio/devices/iio:device0/in_humidityrelative_input bme280 percent
iio /sys/bus/iio/devices/iio:device0/in_pressure_input bme280 hectopascal
iio /sys/bus/iio/devices/iio:device0/in_temp_input bme280 celsius
iio /sys/bus/iio/devices/iio:device1/in_voltage0_raw mcp3208 volt
iio /sys/bus/iio/devices/iio:device1/in_voltage1-voltage2_raw mcp3208 volt
iio /sys/bus/iio/devices/iio:device2/in_temp_raw tmp006 celsius
hwmon /sys/class/hwmon/hwmon0/curr1_input ina2xx ampere
hwmon /sys/class/hwmon/hwmon0/fan1_input ina2xx rpm
hwmon /sys/class/hwmon/hwmon0/humidity1_input ina2xx percent
hwmon /sys/class/hwmon/hwmon0/in1_input ina2xx volt
hwmon /sys/class/hwmon/hwmon0/power1_input ina2xx watt
`
	if got != want {
		t.Errorf("found:\n%s\nwant:\n%s", got, want)
	}
	if len(one.probed) != 0x77-0x08 || len(stuck.probed) != 2 {
		t.Errorf("%d and %d addresses were probed", len(one.probed), len(stuck.probed))
	}
	if none := text(search(t, t.TempDir(), open)); !strings.Contains(none, "dtparam=i2c_arm=on") || !strings.Contains(none, "dtoverlay=w1-gpio") {
		t.Errorf("a machine without buses: %s", none)
	}
}

// HW-4: why a bus was not searched is about the bus, and does not advise to search it.
func TestBusesThatCannotBeSearched(t *testing.T) {
	t.Parallel()
	root := machine(t, map[string]string{"dev/i2c-1": ""})
	for err, want := range map[error]string{
		unix.ENXIO:               "/dev/i2c-1 cannot be opened: no such device or address",
		unix.EBUSY:               "/dev/i2c-1 cannot be opened: device or resource busy",
		unix.ENOTTY:              "/dev/i2c-1 is no I²C bus",
		context.DeadlineExceeded: "the search of i2c-1 was not over within 15s: it came to 0x08",
	} {
		open := func(int) (transport, error) { return nil, err }
		if got := search(t, root, open).Buses; len(got) != 1 || got[0].Fault != want || len(got[0].Devices) != 0 {
			t.Errorf("%v: %+v; want %q", err, got, want)
		}
	}
}

// One search runs at a time, and none on a simulated board.
func TestOneScanAtATime(t *testing.T) {
	t.Parallel()
	root := machine(t, map[string]string{"dev/i2c-1": ""})
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		bus := &searched{answers: func(uint16) error {
			<-release
			return unix.EREMOTEIO
		}}
		p := newPoller(Config{}.withRoot(root), func(int) (transport, error) { return bus, nil })
		first := make(chan error, 1)
		go func() {
			_, err := p.Scan(context.Background())
			first <- err
		}()
		synctest.Wait()
		if _, err := p.Scan(t.Context()); !errors.Is(err, board.ErrScanRuns) {
			t.Errorf("the second search: %v", err)
		}
		close(release)
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
	p := New(Config{Simulated: true})
	if got, err := p.Scan(t.Context()); err != nil || !got.Simulated || len(got.Buses) != 0 || len(got.Hints) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// Importing the drivers and opening buses leaves descriptor 0 as it is and opens no chip
// of pins, which periph's host.Init and driverreg.Init would.
func TestDescriptorsAndPinsAreLeftAlone(t *testing.T) {
	t.Parallel()
	if os.Getenv("SENSOR_CHILD") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDescriptorsAndPinsAreLeftAlone$", "-test.v")
		cmd.Env = append(os.Environ(), "SENSOR_CHILD=1")
		cmd.Stdin = strings.NewReader("still here")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "read: still here") {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	var before, after unix.Stat_t
	if err := unix.Fstat(0, &before); err != nil {
		t.Fatal(err)
	}
	var all []Settings
	for i, d := range Drivers() {
		if drivers[d].bus != nil {
			all = append(all, complete(t, d, d, func(s *Settings) { s.Bus = i }))
		}
	}
	p := New(Config{Sensors: all, Publisher: newRecorder(), Topics: newTopics()})
	for _, one := range p.probes {
		if _, err := one.read(t.Context()); err == nil {
			t.Logf("%s can be read here", one.set.Name)
		}
	}
	if err := unix.Fstat(0, &after); err != nil || before.Ino != after.Ino {
		t.Errorf("descriptor 0 is another file: %v", err)
	}
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.Contains(to, "gpio") {
			t.Errorf("%s is open", to)
		}
	}
	b := make([]byte, 10)
	n, err := os.Stdin.Read(b)
	fmt.Printf("read: %s %v\n", b[:n], err)
}

// periph's registry of host drivers is not linked: its init functions register drivers
// that touch pins.
func TestNoHostDriversAreLinked(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(name, "periph.io/x/host") || strings.HasSuffix(name, "/driver/driverreg") {
			t.Errorf("%s is linked", name)
		}
	}
}
