package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/board"
	"github.com/picloud/picloud/httpapi"
)

// bench is a board with two sensors.
type bench struct{ err error }

var measured = time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)

func (bench) Sensors() []board.Sensor {
	return []board.Sensor{
		{
			Name: "attic", App: "default", Topic: "sensors/attic", Driver: "ds18b20", Place: "/sys/x",
			Fault: "nothing is at /sys/x", FaultSince: measured,
		},
		{
			Name: "room", App: "default", Topic: "sensors/room", Driver: "bme280", Place: "i2c-1 0x76", Simulated: true,
			Values: map[string]float64{"celsius": 21.5}, ReadAt: measured,
		},
	}
}

func (b bench) Scan(context.Context) (board.Scan, error) {
	return board.Scan{
		Buses: []board.ScannedBus{{Number: 1, Name: "bcm2835", Devices: []board.ScannedDevice{
			{Address: 0x8},
			{Address: 0x76, User: "hw.sensors.room", Drivers: []string{"bme280"}},
		}}},
		Files: []board.ScannedFile{{Driver: "ds18b20", Path: "/sys/y", Device: "28-1", Unit: "celsius"}},
	}, b.err
}

// HW-4, HW-5: a sensor is told with its latest reading or its fault, and as simulated
// where it is; what is not known is null.
func TestSensorsOfTheBoard(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(c *httpapi.Config) { c.Sensors = bench{} })
	const want = `{"sensors":[` +
		`{"name":"attic","app":"default","topic":"sensors/attic","driver":"ds18b20","place":"/sys/x","simulated":false,` +
		`"values":null,"read_at":null,"fault":"nothing is at /sys/x","fault_since":"2026-11-26T08:00:00.000000Z"},` +
		`{"name":"room","app":"default","topic":"sensors/room","driver":"bme280","place":"i2c-1 0x76","simulated":true,` +
		`"values":{"celsius":21.5},"read_at":"2026-11-26T08:00:00.000000Z","fault":null,"fault_since":null}]}`
	if a := n.ask(t, "GET", "/v1/node/board/sensors", n.admin, ""); a.status != 200 || strings.TrimSpace(string(a.body)) != want {
		t.Errorf("%d %s", a.status, a.body)
	}
	var found api.Scan
	a := n.ask(t, "GET", "/v1/node/board/scan", n.admin, "")
	if err := json.Unmarshal(a.body, &found); err != nil || a.status != 200 {
		t.Fatal(a.status, err)
	}
	devices := found.Buses[0].Devices
	if devices[0].Address != "0x08" || devices[0].User != nil || devices[0].Drivers == nil || *devices[1].User != "hw.sensors.room" ||
		found.Files[0].Path != "/sys/y" || found.Hints == nil {
		t.Errorf("%s", a.body)
	}
}

// A search that runs already is refused for now.
func TestScanThatRuns(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(c *httpapi.Config) { c.Sensors = bench{err: board.ErrScanRuns} })
	if a := n.ask(t, "GET", "/v1/node/board/scan", n.admin, ""); a.status != 503 || !strings.Contains(string(a.body), "scan-runs") {
		t.Errorf("%d %s", a.status, a.body)
	}
	n = newNode(t, func(c *httpapi.Config) { c.Sensors = bench{err: errors.New("x")} })
	if a := n.ask(t, "GET", "/v1/node/board/scan", n.admin, ""); a.status != 500 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
