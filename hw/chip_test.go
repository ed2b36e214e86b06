package hw

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picloud/picloud/board"
)

// simulator is a chip of the kernel's module gpio-sim, made through configfs. It
// has the lines of a Raspberry Pi 5.
type simulator struct {
	t   testing.TB
	dir string // in configfs
}

const configfs = "/sys/kernel/config/gpio-sim"

func newSimulator(tb testing.TB) *simulator {
	tb.Helper()
	if _, err := os.Stat(configfs); err != nil {
		tb.Skip("needs a kernel with gpio-sim: make pins")
	}
	s := &simulator{tb, configfs + "/pi"}
	s.mkdir("bank0")
	s.write(s.dir+"/bank0/num_lines", "54")
	s.write(s.dir+"/bank0/label", "pinctrl-rp1")
	for i := range 28 {
		s.mkdir(fmt.Sprintf("bank0/line%d", i))
		s.write(fmt.Sprintf("%s/bank0/line%d/name", s.dir, i), fmt.Sprintf("GPIO%d", i))
	}
	s.live("1")
	tb.Cleanup(func() { s.live("0") })
	return s
}

func (s *simulator) mkdir(name string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Join(s.dir, name), 0o700); err != nil {
		s.t.Fatal(err)
	}
}

func (s *simulator) write(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *simulator) read(path string) string {
	s.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// live plugs the chip in, or pulls it out.
func (s *simulator) live(text string) { s.write(s.dir+"/live", text) }

// outside is the other side of a line.
func (s *simulator) outside(line int) string {
	return filepath.Join("/sys/devices/platform", s.read(s.dir+"/dev_name"), s.read(s.dir+"/bank0/chip_name"), fmt.Sprintf("sim_gpio%d", line))
}

func (s *simulator) pull(line int, direction string) {
	s.t.Helper()
	s.write(s.outside(line)+"/pull", direction)
}

func (s *simulator) value(line int) string {
	s.t.Helper()
	return s.read(s.outside(line) + "/value")
}

// HW-2, HW-3, HW-5, as far as pins are read and set: lines of a real kernel, by their
// names and places, inverted and pulled; what is taken, missing or pulled out is told.
func TestLinesOfTheKernel(t *testing.T) {
	s := newSimulator(t)
	chip := s.read(s.dir + "/bank0/chip_name")
	b := New(Config{Pins: []PinConfig{
		{App: "a", Name: "lamp", Line: "GPIO22", Output: true, Start: true},
		{App: "a", Name: "relay", Line: "pinctrl-rp1:23", Output: true, Start: true, Invert: true},
		{App: "a", Name: "button", Line: "GPIO4", Pull: "up", Invert: true},
		{App: "a", Name: "spare", Line: chip + ":53"},
		{App: "a", Name: "beyond", Line: chip + ":54"},
		{App: "a", Name: "none", Line: "GPIO99"},
	}})
	stop := running(t, b)
	defer stop()
	sets := func(name string, on bool) {
		t.Helper()
		if err := set(b, "a", name, on); err != nil {
			t.Error(err)
		}
	}
	reads := func(name string, want bool) {
		t.Helper()
		if on, err := b.ReadPin("a", name); on != want || err != nil {
			t.Errorf("%s is %t, %v", name, on, err)
		}
	}
	values := func(lamp, relay string) {
		t.Helper()
		if got, other := s.value(22), s.value(23); got != lamp || other != relay {
			t.Errorf("outside the lamp is at %s and the relay at %s, want %s and %s", got, other, lamp, relay)
		}
	}
	reads("lamp", true)
	reads("relay", true)
	values("1", "0")
	sets("lamp", false)
	sets("relay", false)
	values("0", "1")
	reads("lamp", false)
	values("0", "1") // reading has changed nothing

	reads("button", false)
	s.pull(4, "pull-down")
	reads("button", true)
	s.pull(4, "pull-up")
	reads("button", false)
	reads("spare", false)

	fails := func(b *Board, name, want string) {
		t.Helper()
		if _, err := b.ReadPin("a", name); !errors.Is(err, board.ErrPinUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fails(b, "beyond", "/dev/"+chip+" has 54 lines")
	fails(b, "none", `no GPIO chip has a line "GPIO99"`)
	fails(New(Config{Pins: []PinConfig{{App: "a", Name: "lamp", Line: "GPIO22"}}}), "lamp", `in use by "picloud"`)

	pulsesOfTheKernel(t, s, b)
	s.live("0")
	fails(b, "button", "no GPIO chip that can be seen")
	if err := set(b, "a", "lamp", true); !errors.Is(err, board.ErrPinUnavailable) {
		t.Error(err)
	}
	s.live("1")
	reads("button", false)
	reads("relay", true)
	reads("lamp", true)
	values("1", "0") // as they start
}
