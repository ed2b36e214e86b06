package api

// Sensor is a sensor of the configuration with its latest reading.
type Sensor struct {
	Name       string             `json:"name"`
	App        string             `json:"app"`
	Topic      string             `json:"topic"` // of its events
	Driver     string             `json:"driver"`
	Place      string             `json:"place"`       // a bus and an address, or a file of the kernel
	Simulated  bool               `json:"simulated"`   // nothing is measured
	Values     map[string]float64 `json:"values"`      // by unit; null: nothing was read since the node started
	ReadAt     Time               `json:"read_at"`     // when they were
	Failed     bool               `json:"failed"`      // the latest reading: values are of one before it
	Fault      *string            `json:"fault"`       // why it cannot be read, or not without breaks; null: it can
	FaultSince Time               `json:"fault_since"` // null: there is none
}

// Sensors is a list of sensors by name.
type Sensors struct {
	Sensors []Sensor `json:"sensors"`
}

// Scan is what a search of the board for sensors has found.
type Scan struct {
	Simulated bool          `json:"simulated"` // nothing was searched
	Buses     []ScannedBus  `json:"buses"`
	Files     []ScannedFile `json:"files"`
	Hints     []string      `json:"hints"` // what is missing, and how to get it
}

// ScannedBus is an I²C bus.
type ScannedBus struct {
	Bus     int             `json:"bus"`     // N of /dev/i2c-N
	Adapter string          `json:"adapter"` // as the kernel calls it
	Fault   *string         `json:"fault"`   // why it was not searched to its end; null: it was
	Devices []ScannedDevice `json:"devices"`
}

// ScannedDevice is an address in use.
type ScannedDevice struct {
	Address string   `json:"address"` // such as 0x76
	User    *string  `json:"user"`    // what uses it and was not disturbed; null: it has answered
	Drivers []string `json:"drivers"` // those of sensors that can have the address
}

// ScannedFile is a file of the kernel with the value of a sensor.
type ScannedFile struct {
	Driver string `json:"driver"`
	Path   string `json:"path"`
	Device string `json:"device"`
	Unit   string `json:"unit"`
}
