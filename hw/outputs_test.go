package hw

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud/board"
)

// lamp is a simulated board with one output, lamp of app a, on an inverted line.
func lamp(p PinConfig) *Board {
	p.App, p.Name, p.Line, p.Output = "a", "lamp", "GPIO22", true
	return New(Config{Driver: DriverSim, Pins: []PinConfig{p}})
}

// pulseOf asks for the lamp to be on for a while.
func pulseOf(d time.Duration) board.PinChange {
	return board.PinChange{App: "a", Name: "lamp", On: true, For: d, By: "local"}
}

// pulsed sets the lamp for a while.
func pulsed(t *testing.T, b *Board, on bool, d time.Duration) board.Pin {
	t.Helper()
	c := pulseOf(d)
	c.On = on
	p, err := b.SetPin(context.Background(), c)
	if err != nil {
		t.Error(err)
	}
	return p
}

// expect reads the lamp.
func expect(t *testing.T, b *Board, on bool, ms int64) {
	t.Helper()
	synctest.Wait()
	p, err := b.Pin("a", "lamp")
	if err != nil || p.On == nil || *p.On != on || p.ForMS != ms {
		t.Errorf("the lamp is %+v, %v, want %t for %d ms", p, err, on, ms)
	}
}

// HW-3: a pulse ends to the millisecond without its caller, and each change is told.
func TestPulseEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := lamp(PinConfig{Invert: true})
		told := 0
		b.cfg.Changed = func(app, pin string) {
			if app == "a" && pin == "lamp" {
				told++
			}
		}
		defer running(t, b)()
		if p := pulsed(t, b, true, 500*time.Millisecond); p.On == nil || !*p.On || p.ForMS != 500 || p.SetBy != "local" {
			t.Errorf("%+v", p)
		}
		time.Sleep(499 * time.Millisecond)
		expect(t, b, true, 1)
		time.Sleep(time.Millisecond)
		expect(t, b, false, 0)
		pulsed(t, b, false, time.Hour)
		expect(t, b, false, time.Hour.Milliseconds())
		time.Sleep(time.Hour)
		expect(t, b, true, 0)
		if told != 4 {
			t.Errorf("%d changes were told, want 4", told)
		}
	})
}

// HW-3: of two pulses at one level the later end counts; a pulse at the other level, and
// a change without a pulse, take the place of the one under way.
func TestPulseWithinAPulse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := lamp(PinConfig{})
		defer running(t, b)()
		pulsed(t, b, true, 10*time.Second)
		if p := pulsed(t, b, true, time.Second); p.ForMS != 10_000 {
			t.Errorf("a shorter pulse leaves %d ms of a longer one", p.ForMS)
		}
		time.Sleep(9 * time.Second)
		expect(t, b, true, 1000)
		pulsed(t, b, true, 5*time.Second)
		time.Sleep(2 * time.Second)
		expect(t, b, true, 3000)

		pulsed(t, b, false, time.Second)
		expect(t, b, false, 1000)
		time.Sleep(time.Second)
		expect(t, b, true, 0)

		pulsed(t, b, true, time.Second)
		pulsed(t, b, true, 0)
		time.Sleep(time.Minute)
		expect(t, b, true, 0)
		pulsed(t, b, true, time.Second)
		pulsed(t, b, false, 0)
		time.Sleep(time.Minute)
		expect(t, b, false, 0)
	})
}

// HW-3: the timer of a pulse that has been replaced as it fired ends nothing.
func TestTimerOfAPulseThatWasReplaced(t *testing.T) {
	t.Parallel()
	b := lamp(PinConfig{})
	for _, next := range []time.Duration{0, 2 * time.Hour} {
		pulsed(t, b, true, time.Hour)
		late := b.pins[0].pulse
		pulsed(t, b, true, next)
		b.endPulse(b.pins[0], late)
		if p, err := b.Pin("a", "lamp"); err != nil || !*p.On || (p.ForMS > 0) != (next > 0) {
			t.Errorf("followed by %v: %+v, %v", next, p, err)
		}
	}
	if err := set(b, "a", "lamp", false); err != nil {
		t.Error(err)
	}
}

// HW-3: a node that stops in a pulse leaves the output at its state for the stop, and
// the end of the pulse does not change it any more.
func TestStopInAPulse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bn := &bench{}
		b := lamp(PinConfig{Stop: true})
		b.chips = bn
		stop := running(t, b)
		synctest.Wait()
		pulsed(t, b, true, time.Second)
		stop()
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"open GPIO22 off", "set GPIO22 on", "set GPIO22 on", "close GPIO22"}, bn.log); diff != "" {
			t.Error(diff)
		}
	})
}

// HW-3: a pulse whose end falls into a fault of the chip ends within a second of the
// chip's return, although the output starts at the level of the pulse.
func TestPulseEndsWithTheReturnOfTheChip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bn := &bench{}
		b := lamp(PinConfig{Start: true})
		b.chips = bn
		defer running(t, b)()
		synctest.Wait()
		pulsed(t, b, true, 10*time.Second)
		bn.breakIt(errors.New("no chip"), errors.New("no such device"))
		time.Sleep(13500 * time.Millisecond)
		bn.breakIt(nil, nil)
		time.Sleep(retryEvery)
		synctest.Wait()
		if diff := cmp.Diff([]string{"open GPIO22 on", "set GPIO22 on", "set GPIO22 off", "close GPIO22", "open GPIO22 off"}, bn.log); diff != "" {
			t.Error(diff)
		}
	})
}

// HW-3: the length of a pulse is bounded.
func TestLengthOfAPulse(t *testing.T) {
	t.Parallel()
	b := lamp(PinConfig{})
	for _, d := range []time.Duration{-1, 1, board.MinPulse - 1, board.MaxPulse + 1} {
		if _, err := b.SetPin(context.Background(), board.PinChange{App: "a", Name: "lamp", On: true, For: d}); !errors.Is(err, board.ErrPulseInvalid) {
			t.Errorf("%v: %v", d, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		b := lamp(PinConfig{})
		for _, d := range []time.Duration{board.MinPulse, board.MaxPulse} {
			pulsed(t, b, true, d)
			expect(t, b, true, d.Milliseconds())
			time.Sleep(d)
			expect(t, b, false, 0)
		}
	})
}

// HW-3: of changes at the same time each answer tells its own level, and the pin shows
// the level and the source of one and the same change.
func TestChangesAtTheSameTime(t *testing.T) {
	t.Parallel()
	b := lamp(PinConfig{})
	var wg sync.WaitGroup
	for _, on := range []bool{true, false} {
		for range 8 {
			wg.Go(func() {
				for range 200 {
					p, err := b.SetPin(context.Background(), board.PinChange{App: "a", Name: "lamp", On: on, By: onOff(on)})
					if err != nil || *p.On != on || p.SetBy != onOff(on) {
						t.Errorf("set to %t: %+v, %v", on, p, err)
					}
					if p, err := b.Pin("a", "lamp"); err != nil || p.SetBy != onOff(*p.On) {
						t.Errorf("%+v, %v", p, err)
					}
				}
			})
		}
	}
	wg.Wait()
}
