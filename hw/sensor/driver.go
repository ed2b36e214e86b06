package sensor

import (
	"slices"
	"time"
)

// Names of the drivers of files.
const (
	driverDS18B20 = "ds18b20"
	driverIIO     = "iio"
	driverHwmon   = "hwmon"
	driverFile    = "file"
)

// driver knows a kind of sensor.
type driver struct {
	keys     []string      // settings beside the common ones
	minEvery time.Duration // between readings; 0: MinEvery
	timeout  time.Duration // of a reading; 0: readingTimeout

	// Of a device on an I²C bus.
	addresses []uint16 // the first is the usual one
	ranges    []span   // what the device can measure; anything else is a fault
	bus       func(b *session, s *Settings) ([]Value, error)

	// Of a file.
	path string // default
	file func(path string, s *Settings) ([]Value, error)
}

// readingTimeout bounds a reading with everything that its device waits for.
const readingTimeout = 5 * time.Second

// span is the range of a value.
type span struct {
	unit   string
	lo, hi float64
}

// drivers are the known kinds of sensors. Ranges are those of the data sheets.
var drivers = map[string]driver{
	"bme280":  {keys: busKeys, addresses: []uint16{0x76, 0x77}, ranges: []span{{celsius, -40, 85}, {percent, 0, 100}, {hectopascal, 300, 1100}}, bus: readBME280},
	"bmp280":  {keys: busKeys, addresses: []uint16{0x76, 0x77}, ranges: []span{{celsius, -40, 85}, {hectopascal, 300, 1100}}, bus: readBMP280},
	"aht20":   {keys: busKeys, addresses: []uint16{0x38}, ranges: []span{{celsius, -40, 85}, {percent, 0, 100}}, bus: readAHT20},
	"mcp9808": {keys: busKeys, addresses: addressesFrom(0x18, 8), ranges: []span{{celsius, -40, 125}}, bus: readMCP9808},
	"tmp102":  {keys: busKeys, addresses: addressesFrom(0x48, 4), ranges: []span{{celsius, -55, 128}}, bus: readTMP102},
	"bh1750":  {keys: busKeys, addresses: []uint16{0x23, 0x5c}, ranges: []span{{lux, 0, 54612.5}}, bus: readBH1750},
	"scd4x": {
		keys: busKeys, addresses: []uint16{0x62}, ranges: []span{{ppm, 0, 40000}, {celsius, -45, 130}, {percent, 0, 100}},
		minEvery: 5 * time.Second, timeout: 15 * time.Second, bus: readSCD4x,
	},
	"ina219": {
		keys: append(slices.Clip(busKeys), "shunt_ohm", "max_ampere"), addresses: addressesFrom(0x40, 16),
		ranges: []span{{volt, 0, 32}, {ampere, -1e4, 1e4}, {watt, 0, 1e6}}, minEvery: 250 * time.Millisecond, bus: readINA219,
	},
	"ads1115": {
		keys: append(slices.Clip(busKeys), "channel", "max_volt"), addresses: addressesFrom(0x48, 4),
		ranges: []span{{volt, -6.144, 6.144}}, bus: readADS1115,
	},
	driverDS18B20: {keys: []string{"path", "offset"}, path: "/sys/bus/w1/devices/28-*/temperature", minEvery: time.Second, file: readDS18B20},
	driverIIO:     {keys: fileKeys, file: readIIO},
	driverHwmon:   {keys: fileKeys, file: readHwmon},
	driverFile:    {keys: append(slices.Clip(fileKeys), "pattern", "outside_sys"), file: readFile},
}

var (
	busKeys  = []string{"bus", "address"}
	fileKeys = []string{"path", "unit", "scale", "offset"}
)

// addressesFrom returns n addresses in a row.
func addressesFrom(first uint16, n int) []uint16 {
	list := make([]uint16, n)
	for i := range list {
		list[i] = first + uint16(i) // #nosec G115 -- a few
	}
	return list
}

// units lists the names of the values that the sensor has.
func (d *driver) units(s *Settings) []string {
	if d.bus == nil {
		return []string{s.Unit}
	}
	var units []string
	for _, r := range d.ranges {
		units = append(units, r.unit)
	}
	return units
}

// unitOf returns the unit of a file that says by its name what it has.
func (d *driver) unitOf(s *Settings) string {
	switch s.Driver {
	case driverDS18B20:
		return celsius
	case driverIIO, driverHwmon:
		return kindOf(s.Driver, s.Path).unit
	}
	return anyValue
}

// candidates lists the drivers of devices that can have an address.
func candidates(address uint16) []string {
	var names []string
	for _, name := range Drivers() {
		if slices.Contains(drivers[name].addresses, address) {
			names = append(names, name)
		}
	}
	return names
}
