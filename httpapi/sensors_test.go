package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/board"
	"github.com/picloud/picloud/httpapi"
)

// bench is a board with two sensors of the app default.
type bench struct{ err error }

var measured = time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)

func (b bench) AppSensors(app string) []board.Sensor {
	return slices.DeleteFunc(b.Sensors(), func(s board.Sensor) bool { return s.App != app })
}

func (b bench) Sensor(app, name string) (board.Sensor, error) {
	for _, s := range b.AppSensors(app) {
		if s.Name == name {
			return s, nil
		}
	}
	return board.Sensor{}, board.ErrSensorNotFound
}

func (bench) Sensors() []board.Sensor {
	return []board.Sensor{
		{
			Name: "attic", App: "default", Topic: "sensors/attic", Driver: "ds18b20", Place: "/sys/x",
			Failed: true, Fault: "nothing is at /sys/x", FaultSince: measured,
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
		`"values":null,"read_at":null,"failed":true,"fault":"nothing is at /sys/x","fault_since":"2026-11-26T08:00:00.000000Z"},` +
		`{"name":"room","app":"default","topic":"sensors/room","driver":"bme280","place":"i2c-1 0x76","simulated":true,` +
		`"values":{"celsius":21.5},"read_at":"2026-11-26T08:00:00.000000Z","failed":false,"fault":null,"fault_since":null}]}`
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

// HW-4, AU-1: whoever may read an app sees its sensors, and none of another app.
func TestSensorsOfAnApp(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(c *httpapi.Config) { c.Sensors = bench{} })
	reader := n.key(t, "default", picloud.ScopeAppRead)
	whole := n.ask(t, "GET", "/v1/node/board/sensors", n.admin, "")
	if a := n.ask(t, "GET", "/v1/apps/default/sensors", reader, ""); a.status != 200 || string(a.body) != string(whole.body) {
		t.Errorf("%d %s", a.status, a.body)
	}
	var room api.Sensor
	if a := n.ask(t, "GET", "/v1/apps/default/sensors/room", reader, ""); a.status != 200 || json.Unmarshal(a.body, &room) != nil || room.Values["celsius"] != 21.5 || !room.Simulated {
		t.Errorf("%d %s", a.status, a.body)
	}
	if _, err := n.store.CreateApp(t.Context(), picloud.App{Name: "shop"}); err != nil {
		t.Fatal(err)
	}
	if a := n.ask(t, "GET", "/v1/apps/shop/sensors", n.admin, ""); a.status != 200 || strings.TrimSpace(string(a.body)) != `{"sensors":[]}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	for path, kind := range map[string]string{"/v1/apps/default/sensors/none": "sensor-not-found", "/v1/apps/shop/sensors/room": "sensor-not-found", "/v1/apps/nobody/sensors": "app-not-found"} {
		if a := n.ask(t, "GET", path, n.admin, ""); a.status != 404 || a.problem().Type != "urn:picloud:problem:"+kind {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
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
