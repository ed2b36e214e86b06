package hw

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/board"
)

// machine writes the kernel's files of a machine.
func machine(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// HW-1: what the kernel of a Raspberry Pi tells is told, in the usual units.
func TestHealthOfABoard(t *testing.T) {
	t.Parallel()
	root := machine(t, map[string]string{
		"sys/firmware/devicetree/base/model":                  "Raspberry Pi 4 Model B Rev 1.4\x00",
		"sys/class/thermal/thermal_zone0/type":                "gpu-thermal\n",
		"sys/class/thermal/thermal_zone0/temp":                "40000\n",
		"sys/class/thermal/thermal_zone1/type":                "cpu-thermal\n",
		"sys/class/thermal/thermal_zone1/temp":                "51608\n",
		"sys/devices/platform/soc/soc:firmware/get_throttled": "50004\n",
		"sys/class/block/mmcblk0/device/life_time":            "0x02 0x03\n",
		"proc/meminfo": "MemTotal:        3884380 kB\nMemAvailable:    3000000 kB\n",
		"proc/stat":    "cpu  10 0 10 60 20 0 0 0 0 0\ncpu0 1 2 3\n",
	})
	h := New(Config{Root: root, Data: root}).Health()
	if h.Model == nil || *h.Model != "Raspberry Pi 4 Model B Rev 1.4" || h.Celsius == nil || *h.Celsius != 51.608 {
		t.Errorf("model %v, %v °C", h.Model, h.Celsius)
	}
	flags := []*bool{h.Undervoltage, h.UndervoltageSeen, h.Throttled, h.ThrottledSeen}
	for i, want := range []bool{false, true, true, true} {
		if flags[i] == nil || *flags[i] != want {
			t.Errorf("flag %d of the power is %v", i, flags[i])
		}
	}
	if h.Wear == nil || *h.Wear != 0.3 || h.MemoryAvailable == nil || *h.MemoryAvailable != 3000000<<10 || h.CPU == nil || math.Abs(*h.CPU-0.2) > 1e-9 {
		t.Errorf("wear %v, memory %v, CPU %v", h.Wear, h.MemoryAvailable, h.CPU)
	}
	if h.Load == nil || h.MemoryTotal == nil || *h.MemoryTotal < 1<<20 || h.Uptime == nil || h.DiskFree == nil || h.ClockSynced == nil || *h.DiskFree > *h.DiskTotal {
		t.Errorf("what every machine knows: %+v", h)
	}
}

// A newer kernel has another watch over the voltage.
func TestUndervoltageByTheMonitor(t *testing.T) {
	t.Parallel()
	root := machine(t, map[string]string{
		"sys/class/hwmon/hwmon0/name":            "cpu_thermal\n",
		"sys/class/hwmon/hwmon1/name":            "rpi_volt\n",
		"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n",
	})
	h := New(Config{Root: root}).Health()
	if h.Undervoltage == nil || !*h.Undervoltage || h.Throttled != nil || h.UndervoltageSeen != nil {
		t.Errorf("%+v", h)
	}
}

// HW-1: what is not known, or cannot be understood, is not known.
func TestUnknownIsUnknown(t *testing.T) {
	t.Parallel()
	for name, root := range map[string]string{
		"nothing": t.TempDir(),
		"nonsense": machine(t, map[string]string{
			"sys/firmware/devicetree/base/model":                  "",
			"sys/class/thermal/thermal_zone0/temp":                "warm",
			"sys/devices/platform/soc/soc:firmware/get_throttled": "yes",
			"sys/class/block/mmcblk0/device/life_time":            "0x00 0x00",
			"proc/meminfo": "MemAvailable: -1 kB",
			"proc/stat":    "cpu a b c d e f g h",
		}),
		"no number": machine(t, map[string]string{
			"sys/class/thermal/thermal_zone0/temp":                 "nan",
			"sys/class/hwmon/hwmon1/name":                          "rpi_volt\n",
			"sys/class/hwmon/hwmon1/in0_lcrit_alarm":               "",
			"sys/class/block/mmcblk0/device/life_time":             "0xff 0x01",
			"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "inf",
		}),
		"impossible": machine(t, map[string]string{
			"sys/class/thermal/thermal_zone0/temp":                 "999999999",
			"sys/class/hwmon/hwmon1/name":                          "rpi_volt\n",
			"sys/class/hwmon/hwmon1/in0_lcrit_alarm":               "2",
			"sys/class/block/mmcblk0/device/life_time":             "0x63",
			"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "-1",
		}),
	} {
		h := New(Config{Root: root, Data: filepath.Join(root, "none")}).Health()
		h.At, h.Uptime, h.Load, h.MemoryTotal, h.ClockSynced = board.Health{}.At, nil, nil, nil, nil
		if h != (board.Health{}) {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

// HW-1, HW-5: a file of the kernel that hangs makes unknown what it tells, with why, and
// nothing else: whoever asks gets an answer, and however often, one goroutine waits for it.
func TestFileThatHangs(t *testing.T) {
	t.Parallel()
	root := machine(t, map[string]string{
		"sys/firmware/devicetree/base/model":   "Raspberry Pi 4 Model B Rev 1.4\x00",
		"sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
	})
	hangs := filepath.Join(root, "sys/class/thermal/thermal_zone0/temp")
	if err := unix.Mkfifo(hangs, 0o600); err != nil {
		t.Fatal(err)
	}
	m := NewMonitor(MonitorConfig{Board: New(Config{Root: root, Data: root})})
	for range 20 {
		r := m.Report()
		if r.Model == nil || r.Celsius != nil {
			t.Fatalf("model %v, %v °C", r.Model, r.Celsius)
		}
		i := slices.IndexFunc(r.Missing, func(m board.Missing) bool { return m.What == "celsius" })
		if i < 0 || !strings.Contains(r.Missing[i].Why, "thermal_zone0/temp cannot be read: the kernel has not answered") {
			t.Fatalf("missing: %+v", r.Missing)
		}
	}
	files := &m.cfg.Board.health.files
	files.mu.Lock()
	waiting := len(files.reading)
	files.mu.Unlock()
	if waiting != 1 {
		t.Errorf("%d readings wait", waiting)
	}
	w, err := os.OpenFile(hangs, os.O_WRONLY, 0) // ends the reading that waits
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("51000\n"); err != nil {
		t.Error(err)
	}
	if err := errors.Join(w.Close(), os.Remove(hangs), os.WriteFile(hangs, []byte("52000\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; {
		if h := m.cfg.Board.Health(); h.Celsius != nil && *h.Celsius == 52 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the temperature does not come back")
		}
	}
}
