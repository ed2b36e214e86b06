package board

import (
	"time"

	"github.com/picloud/picloud"
)

// ErrScanRuns refuses a search of the board while another one runs.
var ErrScanRuns = &picloud.Error{
	Code: picloud.CodeUnavailable, Type: "scan-runs", Title: "The board is being searched already", Detail: "Try again in a few seconds.",
}

// Sensor is a sensor that the configuration has given a name, with its latest reading.
type Sensor struct {
	Name       string             `json:"name"`
	App        string             `json:"app"` // whose topic it publishes to
	Topic      string             `json:"topic"`
	Driver     string             `json:"driver"`
	Place      string             `json:"place"` // where it is: a bus and an address, or a file of the kernel
	Simulated  bool               `json:"simulated"`
	Values     map[string]float64 `json:"values"`               // by unit; nil: nothing has been read since the node started
	ReadAt     time.Time          `json:"read_at,omitzero"`     // when Values were read; zero: never
	Failed     bool               `json:"failed"`               // the latest reading; Values are those of one before it
	Fault      string             `json:"fault,omitempty"`      // why it cannot be read, or not without breaks; empty: it can
	FaultSince time.Time          `json:"fault_since,omitzero"` // zero: there is no fault
}

// Measured returns nil when Values are those of the latest reading, else
// ErrSensorUnavailable with the reason.
func (s *Sensor) Measured() error {
	switch {
	case s.Failed:
		return ErrSensorUnavailable.Detailf("%s", s.Fault)
	case s.Values == nil:
		return ErrSensorUnavailable.Detailf("it has not been read since the node started")
	}
	return nil
}

// Errors about sensors.
var (
	ErrSensorNotFound    = &picloud.Error{Code: picloud.CodeNotFound, Type: "sensor-not-found", Title: "There is no such sensor"}
	ErrSensorUnavailable = &picloud.Error{
		Code: picloud.CodeUnavailable, Type: "sensor-unavailable", Title: "The sensor cannot be read", RetryAfter: 30 * time.Second,
	}
)

// Scan is what a search of the board for sensors has found.
type Scan struct {
	Simulated bool // nothing was searched
	Buses     []ScannedBus
	Files     []ScannedFile
	Hints     []string // what is missing, and how to get it
}

// ScannedBus is an I²C bus and the addresses that answer on it.
type ScannedBus struct {
	Number  int
	Name    string // of its adapter
	Fault   string // why it was not searched, or not to the end
	Devices []ScannedDevice
}

// ScannedDevice is an address that is in use.
type ScannedDevice struct {
	Address uint16
	User    string   // what uses it and was not disturbed: a sensor of the configuration, or a driver of the kernel; empty: it has answered
	Drivers []string // drivers of sensors that can have this address; it is not known which it is
}

// ScannedFile is a file of the kernel that has the value of a sensor.
type ScannedFile struct {
	Driver string
	Path   string
	Device string // what the kernel calls the device
	Unit   string
}
