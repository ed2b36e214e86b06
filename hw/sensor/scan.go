package sensor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/board"
)

// Addresses that are searched: the others are reserved.
const (
	firstAddress = 0x08
	lastAddress  = 0x77
)

// Limits of a search. A bus on which nothing moves takes a second for each address.
const (
	scanTimeout = 15 * time.Second
	maxFiles    = 256
)

// Scan searches the board for sensors: addresses of I²C buses that answer, devices on the
// 1-Wire bus, channels of IIO and hwmon. It does as i2cdetect (see kernelBus.probe) and
// leaves alone what the configuration or the kernel uses. One search runs at a time: it
// returns board.ErrScanRuns.
func (p *Poller) Scan(ctx context.Context) (board.Scan, error) {
	select {
	case p.scanning <- struct{}{}:
		defer func() { <-p.scanning }()
	default:
		return board.Scan{}, board.ErrScanRuns
	}
	out := board.Scan{Simulated: p.cfg.Simulated}
	if p.cfg.Simulated {
		out.Hints = []string{"the board is simulated (hw.driver = \"sim\"): there is nothing to search"}
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	numbers := busNumbers(p.cfg.Root)
	slices.Sort(numbers)
	for _, n := range numbers {
		if b := p.buses[n]; b != nil {
			out.Buses = append(out.Buses, p.scanBus(ctx, b))
		}
	}
	if len(numbers) == 0 {
		out.Hints = append(out.Hints, "there is no I²C bus: on a Raspberry Pi put dtparam=i2c_arm=on into /boot/firmware/config.txt and i2c-dev into /etc/modules, and restart the board")
	}
	out.Files = p.scanFiles()
	if _, err := os.Stat(filepath.Join(p.cfg.Root, "sys/bus/w1/devices")); errors.Is(err, fs.ErrNotExist) {
		out.Hints = append(out.Hints, "there is no 1-Wire bus: on a Raspberry Pi put dtoverlay=w1-gpio into /boot/firmware/config.txt, and restart the board")
	}
	return out, nil
}

// scanBus searches a bus until it has all addresses, or fails twice in a row for another
// reason than that nothing answers.
func (p *Poller) scanBus(ctx context.Context, b *bus) board.ScannedBus {
	out := board.ScannedBus{Number: b.number}
	failures := 0
	for address := uint16(firstAddress); address <= lastAddress && failures < 2; address++ {
		if user := p.user(b.number, address); user != "" {
			out.Devices = append(out.Devices, board.ScannedDevice{Address: address, User: user, Drivers: candidates(address)})
			continue
		}
		err := b.do(ctx, func(t transport) error {
			out.Name = t.name()
			return t.probe(address)
		})
		switch {
		case err == nil:
			out.Devices = append(out.Devices, board.ScannedDevice{Address: address, Drivers: candidates(address)})
			failures = 0
		case errors.Is(err, unix.EBUSY):
			out.Devices = append(out.Devices, board.ScannedDevice{Address: address, User: p.kernelDriver(b.number, address), Drivers: candidates(address)})
			failures = 0
		case answered(err):
			failures = 0
		default:
			s := Settings{Driver: "bme280", Bus: b.number, Address: address}
			out.Fault = s.explain(err).Error()
			if failures++; ctx.Err() != nil || errors.Is(err, fs.ErrPermission) || errors.Is(err, errNoTransfers) {
				return out
			}
		}
	}
	return out
}

// user returns which sensor of the configuration an address belongs to, or "".
func (p *Poller) user(bus int, address uint16) string {
	for _, one := range p.probes {
		if one.bus != nil && one.set.Bus == bus && one.set.Address == address {
			return "hw.sensors." + one.set.Name
		}
	}
	return ""
}

// kernelDriver returns the name of the kernel's driver that uses an address.
func (p *Poller) kernelDriver(bus int, address uint16) string {
	link, err := os.Readlink(filepath.Join(p.cfg.Root, fmt.Sprintf("sys/bus/i2c/devices/%d-%04x/driver", bus, address)))
	if err != nil {
		return "a driver of the kernel"
	}
	return "the kernel's driver " + filepath.Base(link)
}

// scanFiles lists the files of the kernel that have values of sensors.
func (p *Poller) scanFiles() (list []board.ScannedFile) {
	for _, where := range []struct{ driver, pattern string }{
		{driverDS18B20, "sys/bus/w1/devices/28-*/temperature"},
		{driverIIO, "sys/bus/iio/devices/iio:device*/in_*_input"},
		{driverIIO, "sys/bus/iio/devices/iio:device*/in_*_raw"},
		{driverHwmon, "sys/class/hwmon/hwmon*/*_input"},
	} {
		names, _ := filepath.Glob(filepath.Join(p.cfg.Root, where.pattern)) // the patterns are sound
		for _, name := range names {
			path := "/" + strings.TrimPrefix(strings.TrimPrefix(name, filepath.Clean(p.cfg.Root)), "/")
			s := Settings{Driver: where.driver, Path: path}
			d := drivers[where.driver]
			unit := d.unitOf(&s)
			if unit == anyValue {
				continue // such as a time stamp, or a channel that no sensor of a house has
			}
			device := filepath.Base(filepath.Dir(path))
			if b, err := os.ReadFile(filepath.Join(filepath.Dir(name), "name")); err == nil && where.driver != driverDS18B20 {
				device = strings.TrimSpace(string(b))
			}
			if list = append(list, board.ScannedFile{Driver: where.driver, Path: path, Device: device, Unit: unit}); len(list) == maxFiles {
				return list
			}
		}
	}
	return list
}
