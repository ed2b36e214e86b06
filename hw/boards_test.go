package hw

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/board"
)

// Files of the kernel on some boards, after its documentation: Documentation/ABI/testing/sysfs-class-thermal,
// Documentation/hwmon/sysfs-interface, drivers/hwmon/raspberrypi-hwmon.c, and the device trees of
// Raspberry Pi OS (Zero, 3B+) and of the mainline kernel (4, 5).
func files(model, revision string, more map[string]string) map[string]string {
	all := map[string]string{
		deviceTree + "/model":                 model + "\x00",
		deviceTree + "/system/linux,revision": revision,
		"proc/meminfo":                        "MemTotal: 500000 kB\nMemAvailable: 300000 kB\n",
		"proc/stat":                           "cpu  10 0 10 60 20 0 0 0 0 0\n",
	}
	maps.Copy(all, more)
	return all
}

var boards = map[string]map[string]string{
	"Zero": files("Raspberry Pi Zero W Rev 1.1", "\x00\x90\x00\xc1", map[string]string{
		"sys/class/thermal/thermal_zone0/type":                "cpu-thermal\n",
		"sys/class/thermal/thermal_zone0/temp":                "38470\n",
		"sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
		deviceTree + "/aliases/serial0":                       "/soc/serial@7e215040\x00",
		deviceTree + "/soc/serial@7e215040/status":            "disabled\x00",
	}),
	"3B+": files("Raspberry Pi 3 Model B Plus Rev 1.3", "\x00\xa0\x20\xd3", map[string]string{
		"sys/class/thermal/thermal_zone0/type":                           "cpu-thermal\n",
		"sys/class/thermal/thermal_zone0/temp":                           "62000\n",
		"sys/class/hwmon/hwmon0/name":                                    "cpu_thermal\n",
		"sys/class/hwmon/hwmon1/name":                                    "rpi_volt\n",
		"sys/class/hwmon/hwmon1/in0_lcrit_alarm":                         "1\n",
		"sys/devices/platform/soc/soc:firmware/get_throttled":            "80008\n",
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq":           "1200000\n",
		"sys/class/i2c-adapter/i2c-1/name":                               "bcm2835 (i2c@7e804000)\n",
		deviceTree + "/aliases/serial0":                                  "/soc/serial@7e215040\x00",
		deviceTree + "/soc/serial@7e215040/status":                       "okay\x00",
		"sys/class/block/mmcblk0/device/type":                            "SD\n",
		"sys/class/thermal/cooling_device0/type":                         "cpufreq-cpu0\n",
		"sys/class/thermal/cooling_device0/cur_state":                    "0\n",
		"sys/devices/platform/soc/soc:firmware/raspberrypi-hwmon/uevent": "DRIVER=raspberrypi-hwmon\n",
	}),
	"4": files("Raspberry Pi 4 Model B Rev 1.4", "\x00\xc0\x31\x14", map[string]string{
		"sys/class/thermal/thermal_zone0/type":        "cpu-thermal\n",
		"sys/class/thermal/thermal_zone0/temp":        "81304\n",
		"sys/class/thermal/cooling_device0/type":      "thermal-cpufreq-0\n",
		"sys/class/thermal/cooling_device0/cur_state": "2\n",
		"sys/class/hwmon/hwmon1/name":                 "rpi_volt\n",
		"sys/class/hwmon/hwmon1/in0_lcrit_alarm":      "0\n",
		"sys/class/spi_master/spi0/uevent":            "OF_NAME=spi\n",
	}),
	"5": files("Raspberry Pi 5 Model B Rev 1.0", "\x00\xd0\x41\x70", map[string]string{
		"sys/class/thermal/thermal_zone0/type":                                      "cpu-thermal\n",
		"sys/class/thermal/thermal_zone0/temp":                                      "55100\n",
		"sys/class/hwmon/hwmon2/name":                                               "rpi_volt\n",
		"sys/class/hwmon/hwmon2/in0_lcrit_alarm":                                    "0\n",
		"sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "0\n",
		"sys/class/block/mmcblk0/device/life_time":                                  "0x01 0x01\n",
	}),
}

// HW-1: what the kernels of four boards report, and what they do not, which comes with
// the reason.
func TestHealthOfBoards(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ health, missing string }{
		"Zero": {"Raspberry Pi Zero W Rev 1.1, 9000c1, BCM2835, 38.47 °C, undervoltage false, throttled false", "wear"},
		"3B+":  {"Raspberry Pi 3 Model B Plus Rev 1.3, a020d3, BCM2837, 62 °C, undervoltage true, throttled true, 1200 MHz", "wear"},
		"4":    {"Raspberry Pi 4 Model B Rev 1.4, c03114, BCM2711, 81.304 °C, undervoltage false, throttled true", "wear"},
		"5":    {"Raspberry Pi 5 Model B Rev 1.0, d04170, BCM2712, 55.1 °C, undervoltage false, throttled false", ""},
	} {
		b := New(Config{Root: machine(t, boards[name])})
		h := b.Health()
		text := fmt.Sprintf("%s, %s, %s, %v °C, undervoltage %t, throttled %t", *h.Model, *h.Revision, *h.Processor, *h.Celsius, *h.Undervoltage, *h.Throttled)
		if h.CPUHertz != nil {
			text += fmt.Sprintf(", %v MHz", *h.CPUHertz/1e6)
		}
		if text != want.health || h.Simulated {
			t.Errorf("%s: %s, want %s", name, text, want.health)
		}
		var missing []string
		for _, m := range b.missing(&h) {
			missing = append(missing, m.What)
			if m.Why == "" || m.Fix == "" {
				t.Errorf("%s: %+v", name, m)
			}
		}
		if got := strings.Join(missing, " "); got != want.missing {
			t.Errorf("%s: missing %q, want %q", name, got, want.missing)
		}
	}
}

// HW-5: on a PC, in a container without /sys, and where files are closed, what is unknown
// comes with why and what to do.
func TestMissingSaysWhatToDo(t *testing.T) {
	t.Parallel()
	pi := files("Raspberry Pi 4 Model B Rev 1.4", "", nil)
	closed := machine(t, files("Raspberry Pi 4 Model B Rev 1.4", "", map[string]string{temperature: "50000"}))
	if err := os.Chmod(filepath.Join(closed, temperature), 0); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		root  string
		what  string
		words []string
	}{
		"a PC":                       {machine(t, map[string]string{"sys/class/dmi/id/product_name": "OptiPlex\n"}), "undervoltage", []string{"the kernel has no /sys/class/hwmon", "Only a Raspberry Pi"}},
		"a container without /sys":   {t.TempDir(), "celsius", []string{"/sys is not there", "docker run -v /sys:/sys:ro"}},
		"a container without /proc":  {machine(t, pi), "wear", []string{"Cards do not report it"}},
		"a Raspberry Pi, no driver":  {machine(t, pi), "undervoltage", []string{"modprobe raspberrypi-hwmon"}},
		"a Raspberry Pi, no thermal": {machine(t, pi), "celsius", []string{"modprobe bcm2835_thermal"}},
		"nonsense":                   {machine(t, map[string]string{temperature: "warm"}), "celsius", []string{"does not tell"}},
	}
	if os.Geteuid() != 0 { // who may do everything is not kept out
		cases["no permission"] = struct {
			root  string
			what  string
			words []string
		}{closed, "celsius", []string{"/" + temperature + " is closed to this user", "chmod a+r"}}
	}
	for name, c := range cases {
		b := New(Config{Root: c.root})
		h := b.Health()
		list := b.missing(&h)
		i := slices.IndexFunc(list, func(m board.Missing) bool { return m.What == c.what })
		if i < 0 {
			t.Errorf("%s: %s is not missing: %+v", name, c.what, list)
			continue
		}
		for _, word := range c.words {
			if !strings.Contains(list[i].Why+" "+list[i].Fix, word) {
				t.Errorf("%s: %+v lacks %q", name, list[i], word)
			}
		}
	}
}

// wired is a chip that can be listed, with lines that are read as those of a bench.
type wired struct {
	bench
	chipLines
	fault error
}

func (w *wired) list([]string) (chipLines, error) { return w.chipLines, w.fault }

// linesOf names the lines of a chip.
func linesOf(n int, names map[int]string, used map[int]string) (lines []lineState) {
	for i := range n {
		l := lineState{name: fmt.Sprintf("GPIO%d", i)}
		if name, ok := names[i]; ok {
			l.name = name
		}
		l.consumer, l.used = used[i], used[i] != ""
		lines = append(lines, l)
	}
	return lines
}

// HW-1: the header of each board with the names that its kernel has for the lines, and who
// has them: pins of the configuration by name and by place, drivers that tell the chip,
// buses that do not.
func TestHeaderOfBoards(t *testing.T) {
	t.Parallel()
	mainline := map[int]string{2: "SDA1", 3: "SCL1", 14: "TXD1", 15: "RXD1"}
	for name, c := range map[string]struct {
		chip chipLines
		want []string
	}{
		"Zero": {chipLines{"gpiochip0", "pinctrl-bcm2835", linesOf(54, nil, nil)}, []string{"3 GPIO2 GPIO2 free", "8 GPIO14 GPIO14 free", "40 GPIO21 GPIO21 free"}},
		"3B+":  {chipLines{"gpiochip0", "pinctrl-bcm2835", linesOf(54, nil, map[int]string{4: "w1@4"})}, []string{"3 GPIO2 GPIO2 other i2c-1", "7 GPIO4 GPIO4 other w1@4", "8 GPIO14 GPIO14 other serial0"}},
		"4":    {chipLines{"gpiochip0", "pinctrl-bcm2711", linesOf(58, mainline, map[int]string{8: "spi0 CS0"})}, []string{"3 GPIO2 SDA1 free", "19 GPIO10 GPIO10 other spi0", "24 GPIO8 GPIO8 other spi0 CS0"}},
		"5":    {chipLines{"gpiochip0", "pinctrl-rp1", linesOf(54, nil, nil)}, []string{"3 GPIO2 GPIO2 free", "10 GPIO15 GPIO15 free"}},
	} {
		b := New(Config{Root: machine(t, boards[name]), Pins: []PinConfig{
			{App: "a", Name: "door", Line: "GPIO17", Invert: true}, {App: "a", Name: "lamp", Line: c.chip.label + ":22", Output: true},
		}})
		b.chips = &wired{chipLines: c.chip}
		h := b.Header()
		if len(h.Pins) != 40 || h.Chip != c.chip.label || len(h.Missing) != 0 || !strings.HasPrefix(*h.Model, "Raspberry Pi ") || h.Simulated {
			t.Errorf("%s: %+v", name, h)
			continue
		}
		lines := map[string]bool{}
		for i, p := range h.Pins {
			if p.Number != i+1 {
				t.Errorf("%s: pin %d is numbered %d", name, i+1, p.Number)
			}
			if p.Use == board.UseFree && p.High != nil {
				t.Errorf("%s: the level of a line that is not the node's: %+v", name, p)
			}
			if strings.HasPrefix(p.Name, "GPIO") {
				lines[p.Name] = true
			}
		}
		if len(lines) != 28 {
			t.Errorf("%s: %d lines, want 28", name, len(lines))
		}
		texts := headerTexts(&h)
		for _, want := range append(c.want, "1 3V3  power", "39 GND  ground", "11 GPIO17 GPIO17 input a/door low", "15 GPIO22 GPIO22 output a/lamp high") {
			if !slices.Contains(texts, want) {
				t.Errorf("%s: there is no %q in\n%s", name, want, strings.Join(texts, "\n"))
			}
		}
	}
}

func headerTexts(h *board.Header) (texts []string) {
	for _, p := range h.Pins {
		text := fmt.Sprint(p.Number, " ", p.Name, " ", p.Line, " ", p.Use)
		if p.By != "" {
			text += " " + p.By
		}
		if p.Pin != "" {
			text += " " + p.App + "/" + p.Pin
		}
		if p.High != nil {
			text += map[bool]string{true: " high", false: " low"}[*p.High]
		}
		texts = append(texts, text)
	}
	return texts
}

// HW-1: models by what their device trees say; what is not known is not drawn.
func TestHeadersByModel(t *testing.T) {
	t.Parallel()
	for model, want := range map[string]string{
		"Raspberry Pi Model B": "26 GPIO0 GPIO21", "Raspberry Pi Model B Rev 1": "26 GPIO0 GPIO21", "Raspberry Pi Model B Rev 2": "26 GPIO2 GPIO27", "Raspberry Pi Model B rev2": "26 GPIO2 GPIO27",
		"Raspberry Pi Model A Rev 2": "26 GPIO2 GPIO27", "Raspberry Pi Model B Plus Rev 1.2": "40 GPIO2 GPIO27", "Raspberry Pi Zero 2 W Rev 1.0": "40 GPIO2 GPIO27", "Raspberry Pi 500 Rev 1.0": "40 GPIO2 GPIO27",
		"Raspberry Pi Compute Module 4 Rev 1.1": "", "OptiPlex": "", "BeagleBone Black": "",
	} {
		got := ""
		if list := headerOf(model); list != nil {
			got = fmt.Sprint(len(list), " ", list[2].name, " ", list[12].name)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", model, got, want)
		}
	}
}

// HW-5: a header that cannot be drawn, or a chip that cannot be listed, says why, and what
// to do; pins of the configuration are shown all the same.
func TestHeaderThatIsUnknown(t *testing.T) {
	t.Parallel()
	says := func(what string, b *Board, words ...string) board.Header {
		t.Helper()
		h := b.Header()
		if len(h.Missing) != 1 || h.Missing[0].Fix == "" {
			t.Errorf("%s: %+v", what, h.Missing)
			return h
		}
		for _, word := range words {
			if text := h.Missing[0].Why + " " + h.Missing[0].Fix; !strings.Contains(text, word) {
				t.Errorf("%s: %q lacks %q", what, text, word)
			}
		}
		return h
	}
	says("nothing", New(Config{Root: t.TempDir()}), "the model is unknown: /sys is not there", "docker run")
	says("a PC", New(Config{Root: machine(t, map[string]string{"sys/class/dmi/id/product_name": "OptiPlex"})}), "OptiPlex is no Raspberry Pi", "gpioinfo")
	says("a module", New(Config{Root: machine(t, files("Raspberry Pi Compute Module 4 Rev 1.1", "", nil))}), "depends on the board")
	b := New(Config{Root: machine(t, boards["4"]), Pins: []PinConfig{{App: "a", Name: "door", Line: "GPIO17"}}})
	b.chips = kernel{dev: t.TempDir()}
	h := says("no chip", b, "no GPIO chip", "--device /dev/gpiochip0")
	if texts := headerTexts(&h); len(texts) != 40 || texts[10] != "11 GPIO17  input a/door" || texts[11] != "12 GPIO18  unknown" || h.Pins[10].Fault == "" {
		t.Errorf("%v", texts)
	}
	b.chips = &wired{fault: errors.New("/dev/gpiochip0 is closed to this user")}
	says("no permission", b, "closed to this user", "usermod -aG gpio picloud")
}

// BenchmarkHealth: what $board/health costs each time, and what looking for conditions
// costs every two seconds.
func BenchmarkHealth(b *testing.B) {
	for _, c := range []struct {
		name string
		read func(b *Board)
	}{
		{"health", func(b *Board) { b.Health() }},
		{"vitals", func(b *Board) { b.vitals(new(board.Health)) }},
		{"header", func(b *Board) { b.Header() }},
	} {
		b.Run(c.name, func(b *testing.B) {
			root := b.TempDir()
			for name, text := range boards["3B+"] {
				path := filepath.Join(root, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
					b.Fatal(err)
				}
			}
			on := New(Config{Root: root, Data: root})
			on.chips = &wired{chipLines: chipLines{"gpiochip0", "pinctrl-bcm2835", linesOf(54, nil, nil)}}
			b.ReportAllocs()
			for b.Loop() {
				c.read(on)
			}
		})
	}
}
