package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/httpapi"
	"github.com/picloud/picloud/hw"
)

// withPins gives a node pins on a simulated board, and one on a chip that is missing.
func withPins(c *httpapi.Config) {
	c.Board = hw.New(hw.Config{Driver: hw.DriverSim, Pins: []hw.PinConfig{
		{App: "default", Name: "lamp", Line: "GPIO22", Output: true, Invert: true},
		{App: "default", Name: "light", Line: "GPIO22", Invert: true},
		{App: "other", Name: "heater", Line: "GPIO5", Output: true},
	}})
}

// HW-3, AU-1: pins of the app are read with app:read and set with app:write; a pulse
// answers what is left of it; an output shows who has set it.
func TestPins(t *testing.T) {
	t.Parallel()
	n := newNode(t, withPins)
	writer, reader := n.key(t, "default", picloud.ScopeAppWrite), n.key(t, "default", picloud.ScopeAppRead)
	const lamp = "/v1/apps/default/pins/lamp"
	read := func(path string) (p api.Pin) {
		t.Helper()
		if a := n.ask(t, "GET", path, reader, ""); a.status != 200 || json.Unmarshal(a.body, &p) != nil || p.On == nil {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return p
	}
	if p := read(lamp); *p.On || p.SetBy != "" || !p.Output || !p.Simulated || p.Line != "GPIO22" {
		t.Errorf("at the start: %+v", p)
	}
	var p api.Pin
	if a := n.ask(t, "PUT", lamp, writer, `{"on":true,"for_ms":60000}`); a.status != 200 || json.Unmarshal(a.body, &p) != nil || p.On == nil || !*p.On || p.ForMS < 50_000 || p.ForMS > 60_000 {
		t.Errorf("pulse: %d %s", a.status, a.body)
	}
	if p := read(lamp); !*p.On || p.ForMS < 1 || !strings.HasPrefix(p.SetBy, "key:") {
		t.Errorf("in a pulse: %+v", p)
	}
	if p := read("/v1/apps/default/pins/light"); !*p.On || p.Output || p.ForMS != 0 {
		t.Errorf("the input on the line of a lamp: %+v", p)
	}
	if a := n.ask(t, "PUT", lamp, writer, `{"on":false}`); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if p := read(lamp); *p.On || p.ForMS != 0 {
		t.Errorf("after the change: %+v", p)
	}
	var list api.Pins
	if a := n.ask(t, "GET", "/v1/apps/default/pins", reader, ""); json.Unmarshal(a.body, &list) != nil || len(list.Pins) != 2 || list.Pins[0].Name != "lamp" || list.Pins[1].Name != "light" {
		t.Errorf("list: %s", a.body)
	}
	if a := n.ask(t, "PUT", lamp, reader, `{"on":true}`); a.status != 403 {
		t.Errorf("a reader sets a pin: %d %s", a.status, a.body)
	}
}

// HW-3: a change that comes too soon is answered with the level as it is, and with the
// change as pending.
func TestPinThatMayNotChangeYet(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(c *httpapi.Config) {
		c.Board = hw.New(hw.Config{Driver: hw.DriverSim, Pins: []hw.PinConfig{{App: "default", Name: "pump", Line: "GPIO22", Output: true, MinInterval: time.Hour}}})
	})
	for _, c := range []struct{ method, body string }{{"GET", ""}, {"PUT", `{"on":true,"for_ms":5}`}, {"GET", ""}} {
		var p api.Pin
		if a := n.ask(t, c.method, "/v1/apps/default/pins/pump", n.admin, c.body); a.status != 200 || json.Unmarshal(a.body, &p) != nil || *p.On || p.SetBy != "" || p.ForMS != 0 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if has := p.Pending; c.method == "PUT" && (has == nil || !has.On || has.ForMS != 5 || has.InMS < 1_000_000 || has.InMS > 3_600_000) {
			t.Errorf("pending: %+v", has)
		}
	}
	var p api.Pin
	if a := n.ask(t, "PUT", "/v1/apps/default/pins/pump", n.admin, `{"on":false}`); json.Unmarshal(a.body, &p) != nil || p.Pending != nil || *p.On {
		t.Errorf("a change to the level that it has: %s", a.body)
	}
}

// What cannot be done with a pin has its own problem; pins of other apps are not there.
func TestPinsThatCannotBeSet(t *testing.T) {
	t.Parallel()
	n := newNode(t, withPins)
	const pins = "/v1/apps/default/pins/"
	for _, c := range []struct {
		method, pin, body string
		status            int
		kind              string
	}{
		{"PUT", "light", `{"on":true}`, 409, "pin-is-input"},
		{"PUT", "heater", `{"on":true}`, 404, "pin-not-found"},
		{"GET", "heater", ``, 404, "pin-not-found"},
		{"PUT", "lamp", ``, 415, "content-type"},
		{"PUT", "lamp", `{}`, 400, "body-invalid"},
		{"PUT", "lamp", `{"on":1}`, 400, "body-invalid"},
		{"PUT", "lamp", `{"on":null}`, 400, "body-invalid"},
		{"PUT", "lamp", `{"on":true,"for":5}`, 400, "body-invalid"},
		{"PUT", "lamp", `{"on":true,"for_ms":1.5}`, 400, "body-invalid"},
		{"PUT", "lamp", `{"on":true,"for_ms":0}`, 422, "pulse-invalid"},
		{"PUT", "lamp", `{"on":true,"for_ms":-1}`, 422, "pulse-invalid"},
		{"PUT", "lamp", `{"on":true,"for_ms":86400001}`, 422, "pulse-invalid"},
		{"PUT", "lamp", `{"on":true,"for_ms":9223372036854775807}`, 422, "pulse-invalid"},
		{"DELETE", "lamp", ``, 405, "method-not-allowed"},
	} {
		a := n.ask(t, c.method, pins+c.pin, n.admin, c.body)
		if a.status != c.status || a.problem().Type != "urn:picloud:problem:"+c.kind {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.pin, c.body, a.status, a.body, c.status, c.kind)
		}
	}
	var p api.Pin
	if a := n.ask(t, "GET", pins+"lamp", n.admin, ""); json.Unmarshal(a.body, &p) != nil || p.On == nil || *p.On {
		t.Errorf("the lamp was set: %s", a.body)
	}
}

// HW-5: the level of a pin whose line is missing is unknown, which reading tells;
// setting it is refused with what to do.
func TestPinWithoutALine(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(c *httpapi.Config) {
		c.Board = hw.New(hw.Config{Pins: []hw.PinConfig{{App: "default", Name: "lamp", Line: "no-such-line", Output: true}}})
	})
	const lamp = "/v1/apps/default/pins/lamp"
	a := n.ask(t, "GET", lamp, n.admin, "")
	var p api.Pin
	if a.status != 200 || json.Unmarshal(a.body, &p) != nil || p.On != nil || p.Fault == "" || !strings.Contains(string(a.body), `"on":null`) {
		t.Errorf("read: %d %s", a.status, a.body)
	}
	if a := n.ask(t, "PUT", lamp, n.admin, `{"on":true}`); a.status != 503 || a.header.Get("Retry-After") != "30" || !strings.Contains(a.problem().Detail, p.Fault) {
		t.Errorf("set: %d %s", a.status, a.body)
	}
}

// HW-5: a simulated input is pressed by the operator alone; what cannot be pressed says why.
func TestPressOfASimulatedInput(t *testing.T) {
	t.Parallel()
	n := newNode(t, withPins)
	const light = "/v1/apps/default/pins/light"
	for _, c := range []struct {
		path, body string
		status     int
		kind       string
	}{
		{light + "/press", `{"on":true}`, 204, ""},
		{light + "/press", `{"on":false}`, 204, ""},
		{light + "/press", `{"for_ms":2,"times":3,"bounce_ms":1}`, 204, ""},
		{light + "/press", `{"for_ms":0}`, 422, "press-invalid"},
		{light + "/press", `{"for_ms":9223372036854775807,"bounce_ms":-1}`, 422, "press-invalid"},
		{light + "/press", `{"bounce_ms":-9223372036854775808}`, 422, "press-invalid"},
		{light + "/press", `{"times":1000}`, 422, "press-invalid"},
		{light + "/press", `{"times":0}`, 422, "press-invalid"},
		{light + "/press", `{"on":true,"times":3}`, 422, "press-invalid"},
		{light + "/press", `{"on":false,"for_ms":100}`, 422, "press-invalid"},
		{light + "/press", `{"on":true,"bounce_ms":0}`, 422, "press-invalid"},
		{light + "/press", `{"for_ms":1,"times":15000}`, 422, "press-invalid"},
		{light + "/press", `{"of":true}`, 400, "body-invalid"},
		{"/v1/apps/default/pins/lamp/press", ``, 409, "pin-is-output"},
		{"/v1/apps/default/pins/none/press", ``, 404, "pin-not-found"},
	} {
		a := n.ask(t, "POST", c.path, n.admin, c.body)
		if a.status != c.status || c.kind != "" && a.problem().Type != "urn:picloud:problem:"+c.kind {
			t.Errorf("%s %s: %d %s", c.path, c.body, a.status, a.body)
		}
		if a := n.ask(t, "GET", light, n.admin, ""); c.body == `{"on":true}` && !strings.Contains(string(a.body), `"on":true`) {
			t.Errorf("after the press: %s", a.body)
		}
	}
}
