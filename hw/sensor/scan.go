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

// Addresses that a device can have: the others are reserved.
const (
	FirstAddress = 0x08
	LastAddress  = 0x77
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
		out.Hints = append(out.Hints, "there is no I²C bus: "+getI2C)
	}
	out.Files = p.scanFiles()
	if _, err := os.Stat(filepath.Join(p.cfg.Root, "sys/bus/w1/devices")); errors.Is(err, fs.ErrNotExist) {
		out.Hints = append(out.Hints, "there is no 1-Wire bus: "+getWire)
	}
	return out, nil
}

// scanSlice is how long a search has a bus to itself before sensors get their turn.
const scanSlice = 500 * time.Millisecond

// busScan is a search of a bus under way.
type busScan struct {
	out      board.ScannedBus
	next     uint16 // address
	failures int    // in a row, for another reason than that nothing answers
}

// scanBus searches a bus until it has all addresses, or fails twice in a row.
func (p *Poller) scanBus(ctx context.Context, b *bus) board.ScannedBus {
	s := busScan{out: board.ScannedBus{Number: b.number}, next: FirstAddress}
	for s.next <= LastAddress && s.failures < 2 {
		// What is abandoned goes on, and must not write into what is returned.
		slice := s
		slice.out.Devices = slices.Clone(s.out.Devices)
		err := b.do(ctx, func(t transport) error {
			p.scanSlice(t, &slice)
			return nil
		})
		if err != nil {
			s.out.Fault = s.explain(err)
			return s.out
		}
		s = slice
	}
	return s.out
}

// explain words why a bus could not be searched, or an address not be asked.
func (s *busScan) explain(err error) string {
	errno, _ := errors.AsType[unix.Errno](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("the search of i2c-%d was not over within %v: it came to 0x%02x", s.out.Number, scanTimeout, s.next)
	case answered(err): // to opening the bus: what a device answers is no fault of a search
		return fmt.Sprintf("/dev/i2c-%d cannot be opened: %v", s.out.Number, errno)
	case errors.Is(err, unix.ENOTTY):
		return fmt.Sprintf("/dev/i2c-%d is no I²C bus", s.out.Number)
	}
	of := Settings{Driver: "bme280", Bus: s.out.Number, Address: s.next}
	return of.explain(err).Error()
}

// scanSlice probes addresses for a while.
func (p *Poller) scanSlice(t transport, s *busScan) {
	s.out.Name = t.name()
	for began := time.Now(); s.next <= LastAddress && s.failures < 2 && time.Since(began) < scanSlice; s.next++ {
		found := board.ScannedDevice{Address: s.next, User: p.user(s.out.Number, s.next), Drivers: candidates(s.next)}
		var err error
		if found.User == "" {
			err = t.probe(s.next)
		}
		if errors.Is(err, unix.EBUSY) {
			found.User, err = p.kernelDriver(s.out.Number, s.next), nil
		}
		switch {
		case err == nil:
			s.out.Devices = append(s.out.Devices, found)
			s.failures = 0
		case answered(err):
			s.failures = 0
		default:
			s.out.Fault = s.explain(err)
			if s.failures++; errors.Is(err, errNoTransfers) {
				s.failures = 2
			}
		}
	}
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
