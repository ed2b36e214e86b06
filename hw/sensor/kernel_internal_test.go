package sensor

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/board"
	"github.com/picloud/picloud/hw"
)

// adapter is where the kernel has the bus of a Raspberry Pi's header.
const adapter = "/sys/class/i2c-dev/i2c-1/name"

// onBoard skips a test outside the machine that scripts/i2c makes.
func onBoard(t *testing.T) {
	t.Helper()
	if os.Getenv("PICLOUD_TEST_I2C") == "" {
		t.Skip("needs an emulated Raspberry Pi: make i2c")
	}
}

// bench polls a sensor and returns its state.
func (p *Poller) poll(t *testing.T) board.Sensor {
	t.Helper()
	values, err := p.probes[0].read(t.Context())
	p.probes[0].note(values, err)
	return p.Sensors()[0]
}

// until polls until a state is as it should be: what is set from outside, and what the
// kernel binds, comes a moment later and without a signal.
func (p *Poller) until(t *testing.T, what string, ok func(board.Sensor) bool) {
	t.Helper()
	last := p.poll(t)
	for end := time.Now().Add(20 * time.Second); !ok(last); last = p.poll(t) {
		if time.Now().After(end) {
			t.Fatalf("%s: %+v", what, last)
		}
	}
}

// HW-4: a sensor on a bus of a real kernel is read; an address where nothing is, and a bus
// that comes and goes, are told; a search finds what is there; an output that is driven
// stays as it is meanwhile.
func TestBusOfTheKernel(t *testing.T) {
	onBoard(t)
	pins := hw.New(hw.Config{Pins: []hw.PinConfig{{App: "a", Name: "lamp", Line: "GPIO22", Output: true, Start: true}}})
	if on, err := pins.ReadPin("a", "lamp"); err != nil || !on {
		t.Fatalf("the lamp is %t, %v", on, err)
	}
	with := func(address uint16) *Poller {
		s := complete(t, "room", "tmp102", func(s *Settings) { s.Address = address })
		return New(Config{Sensors: []Settings{s}, Publisher: newRecorder(), Topics: newTopics()})
	}
	room, none := with(0x48), with(0x4b)
	for _, celsius := range []float64{31.5, -10, 0, 85} {
		fmt.Printf("\n@set tmp temperature %d\n", int(celsius*1000))
		room.until(t, fmt.Sprintf("%v °C", celsius), func(s board.Sensor) bool { return s.Fault == "" && math.Abs(s.Values["celsius"]-celsius) < 0.01 })
	}
	if got := none.poll(t); !strings.Contains(got.Fault, "no device answers at i2c-1 0x4b") {
		t.Errorf("%+v", got)
	}

	found, err := none.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := ""
	for _, b := range found.Buses {
		for _, d := range b.Devices {
			seen += fmt.Sprintf("%d:%#x%s ", b.Number, d.Address, d.User)
		}
	}
	t.Logf("found %+v", found)
	if !strings.Contains(seen, "1:0x48 ") || !strings.Contains(seen, "1:0x4bhw.sensors.room ") || !strings.Contains(seen, "1:0x50 ") || strings.Count(seen, "1:") != 4 {
		t.Errorf("found %s", seen)
	}

	device, err := filepath.EvalSymlinks("/sys/class/i2c-dev/i2c-1/device/..")
	if err != nil {
		t.Fatal(err)
	}
	bind := func(how string) {
		if err := os.WriteFile("/sys/bus/platform/drivers/i2c-bcm2835/"+how, []byte(filepath.Base(device)), 0); err != nil {
			t.Fatal(how, err)
		}
	}
	bind("unbind")
	room.until(t, "the bus goes", func(s board.Sensor) bool {
		return strings.Contains(s.Fault, "there is no bus /dev/i2c-1") || strings.Contains(s.Fault, "adapter of i2c-1 is gone")
	})
	bind("bind")
	room.until(t, "the bus is back", func(s board.Sensor) bool { return s.Fault == "" })

	if on, err := pins.ReadPin("a", "lamp"); err != nil || !on {
		t.Errorf("the lamp is %t, %v", on, err)
	}
}

// HW-4: a bus on which each transfer takes a second and fails holds up neither a reading
// nor a search for long.
func TestBusThatTimesOut(t *testing.T) {
	onBoard(t)
	label, err := os.ReadFile(adapter)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the bus is %s", label)
	s := complete(t, "room", "tmp102", nil)
	p := New(Config{Sensors: []Settings{s}, Publisher: newRecorder(), Topics: newTopics()})
	began := time.Now()
	if got := p.poll(t); !strings.Contains(got.Fault, "does not get anywhere") || time.Since(began) > 2*readingTimeout {
		t.Errorf("%+v after %v", got, time.Since(began))
	}
	began = time.Now()
	found, err := p.Scan(t.Context())
	if err != nil || time.Since(began) > scanTimeout {
		t.Errorf("%+v, %v after %v", found, err, time.Since(began))
	}
	for _, b := range found.Buses {
		if b.Number == 1 && b.Fault == "" {
			t.Errorf("%+v", b)
		}
	}
}
