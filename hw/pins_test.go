package hw

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud/board"
)

// bench is a board of which things can be broken. It keeps what happened to its
// lines.
type bench struct {
	mu      sync.Mutex
	broken  error // what opening a line says
	failing error // what a line in use says
	log     []string
}

func (b *bench) note(words ...string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, strings.Join(words, " "))
	return b.failing
}

func (b *bench) breakIt(opening, use error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken, b.failing = opening, use
}

func (b *bench) open(p *PinConfig) (line, error) {
	b.mu.Lock()
	broken := b.broken
	b.mu.Unlock()
	if broken != nil {
		return nil, broken
	}
	_ = b.note("open", p.Line, onOff(p.Start))
	return &benchLine{b, p.Line}, nil
}

type benchLine struct {
	b    *bench
	name string
}

func (l *benchLine) get() (bool, error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	return true, l.b.failing
}

func (l *benchLine) set(on bool) error { return l.b.note("set", l.name, onOff(on)) }
func (l *benchLine) Close() error      { return l.b.note("close", l.name) }

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// set sets an output.
func set(b *Board, app, name string, on bool) error {
	_, err := b.SetPin(context.Background(), board.PinChange{App: app, Name: name, On: on, By: "local"})
	return err
}

// running runs a board until the function that is returned is called.
func running(t *testing.T, b *Board) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// HW-3, HW-5: outputs are at the start and at the stop what they have to be; a board
// that is not there stops nothing, and its pins work as soon as it is, also when it
// was there before.
func TestOutputsHaveTheirStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bn := &bench{}
		bn.breakIt(errors.New("no chip"), nil)
		b := New(Config{Pins: []PinConfig{
			{App: "a", Name: "heater", Line: "1", Output: true},
			{App: "a", Name: "valve", Line: "2", Output: true, Start: true, Stop: true},
			{App: "a", Name: "door", Line: "3"},
		}})
		b.chips = bn
		stop := running(t, b)
		synctest.Wait()
		if err := set(b, "a", "heater", true); !errors.Is(err, board.ErrPinUnavailable) || !strings.Contains(err.Error(), "no chip") {
			t.Errorf("without a chip: %v", err)
		}
		if pins := b.Pins("a"); len(pins) != 3 || pins[0].Fault != "no chip" {
			t.Errorf("without a chip: %+v", pins)
		}
		bn.breakIt(nil, nil)
		<-time.After(checkEvery)
		synctest.Wait()
		if err := set(b, "a", "heater", true); err != nil {
			t.Error(err)
		}
		bn.breakIt(errors.New("no chip"), errors.New("no such device"))
		<-time.After(checkEvery)
		synctest.Wait()
		bn.breakIt(nil, nil)
		<-time.After(checkEvery)
		synctest.Wait()
		stop()
		want := []string{"open 3 off", "open 1 off", "open 2 on", "set 1 on", "close 3", "close 1", "close 2", "open 3 off", "open 1 off", "open 2 on", "close 3", "set 1 off", "close 1", "set 2 on", "close 2"}
		if diff := cmp.Diff(want, bn.log); diff != "" {
			t.Errorf("what happened to the lines:\n%s", diff)
		}
		if err := set(b, "a", "heater", true); !errors.Is(err, board.ErrPinUnavailable) || len(bn.log) != len(want) {
			t.Errorf("after the stop: %v, %v", err, bn.log)
		}
	})
}

// A line that fails is taken anew, and starts as it is to start.
func TestLineThatIsLost(t *testing.T) {
	t.Parallel()
	bn := &bench{}
	b := New(Config{Pins: []PinConfig{{App: "a", Name: "lamp", Line: "1", Output: true}, {App: "a", Name: "door", Line: "2"}}})
	b.chips = bn
	if on, err := b.ReadPin("a", "door"); !on || err != nil {
		t.Errorf("%t, %v", on, err)
	}
	if err := set(b, "a", "lamp", true); err != nil {
		t.Error(err)
	}
	bn.breakIt(errors.New("no chip"), errors.New("no such device"))
	if _, err := b.ReadPin("a", "door"); !errors.Is(err, board.ErrPinUnavailable) {
		t.Error(err)
	}
	if err := set(b, "a", "lamp", false); !errors.Is(err, board.ErrPinUnavailable) {
		t.Error(err)
	}
	if on, err := b.ReadPin("a", "lamp"); on || err == nil || !strings.Contains(err.Error(), "no chip") {
		t.Errorf("a lamp that is gone is on: %t, %v", on, err)
	}
	bn.breakIt(nil, nil)
	if err := set(b, "a", "lamp", true); err != nil {
		t.Errorf("a lamp that came back: %v", err)
	}
}

// Pins belong to their app, inputs cannot be set, and an inverted pin is on when its
// line is low.
func TestPins(t *testing.T) {
	t.Parallel()
	b := New(Config{Driver: DriverSim, Pins: []PinConfig{
		{App: "a", Name: "lamp", Line: "GPIO22", Output: true, Start: true, Invert: true},
		{App: "a", Name: "level", Line: "GPIO22"},
		{App: "b", Name: "button", Line: "GPIO4", Pull: "up", Invert: true},
	}})
	defer running(t, b)()
	read := func(app, name string) bool {
		t.Helper()
		on, err := b.ReadPin(app, name)
		if err != nil {
			t.Error(err)
		}
		return on
	}
	if !read("a", "lamp") || read("a", "level") || read("b", "button") {
		t.Error("at the start the levels are wrong")
	}
	if err := set(b, "a", "lamp", false); err != nil || read("a", "lamp") || !read("a", "level") {
		t.Errorf("a lamp that was put out is on, or its line is low: %v", err)
	}
	if err := set(b, "a", "level", true); !errors.Is(err, board.ErrPinInput) {
		t.Error(err)
	}
	for _, name := range []string{"button", "none", ""} {
		if _, err := b.ReadPin("a", name); !errors.Is(err, board.ErrPinNotFound) {
			t.Errorf("%q of another app: %v", name, err)
		}
		if err := set(b, "a", name, true); !errors.Is(err, board.ErrPinNotFound) {
			t.Errorf("%q of another app: %v", name, err)
		}
	}
	on, off := true, false
	want := []board.Pin{{App: "a", Name: "lamp", Line: "GPIO22", Output: true, On: &off, SetBy: "local", Simulated: true}, {App: "a", Name: "level", Line: "GPIO22", On: &on, Simulated: true}}
	if diff := cmp.Diff(want, b.Pins("a")); diff != "" {
		t.Error(diff)
	}
}

// HW-5: a machine without chips says so.
func TestNoChip(t *testing.T) {
	t.Parallel()
	b := New(Config{Pins: []PinConfig{{App: "a", Name: "lamp", Line: "GPIO22", Output: true}}})
	b.chips = kernel{dev: t.TempDir()}
	if err := set(b, "a", "lamp", true); !errors.Is(err, board.ErrPinUnavailable) || !strings.Contains(err.Error(), `set hw.driver to "sim"`) {
		t.Error(err)
	}
}
