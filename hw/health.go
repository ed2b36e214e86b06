package hw

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/board"
)

// health reads how the board is from what the kernel tells.
type health struct {
	root  string
	data  string
	files kernelFiles

	mu   sync.Mutex // guards what follows
	last cpuTimes
	cpu  *float64
}

// Health returns a snapshot of the board's health. What the kernel does not report is nil.
func (b *Board) Health() board.Health {
	h := &b.health
	p := board.Health{At: time.Now().UTC(), CPU: h.busy(), CPUHertz: h.hertz(), Wear: h.wear()}
	if b.cfg.Driver == DriverSim {
		simulatedModel(&p)
	} else {
		revision := h.revision()
		p.Model, p.Revision, p.Processor = h.model(), revisionText(revision), h.processor(revision)
	}
	b.vitals(&p)
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		unit := uint64(info.Unit)
		p.Uptime = new(float64(info.Uptime))
		p.Load = new(float64(info.Loads[0]) / (1 << 16))
		p.MemoryTotal = new(uint64(info.Totalram) * unit) //nolint:unconvert // its type differs between boards
		p.MemoryAvailable = h.available()
	}
	var disk unix.Statfs_t
	if unix.Statfs(h.data, &disk) == nil {
		p.DiskTotal = new(disk.Blocks * uint64(disk.Bsize)) // #nosec G115 -- positive
		p.DiskFree = new(disk.Bavail * uint64(disk.Bsize))  // #nosec G115 -- positive
	}
	var clock unix.Timex
	if _, err := unix.Adjtimex(&clock); err == nil {
		p.ClockSynced = new(clock.Status&unix.STA_UNSYNC == 0)
	}
	return p
}

// vitals reads temperature and power, which a Monitor reads all the time.
func (b *Board) vitals(p *board.Health) {
	if b.cfg.Driver == DriverSim {
		simulatedVitals(p)
		return
	}
	p.Celsius = b.health.celsius()
	b.health.power(p)
}

// read returns what the first file says that matches a pattern below the root.
func (h *health) read(pattern string) (string, bool) {
	names, _ := filepath.Glob(filepath.Join(h.root, pattern)) // the patterns are sound
	for _, name := range names {
		if b, err := h.files.read(name); err == nil {
			return strings.TrimSpace(strings.TrimRight(string(b), "\x00")), true
		}
	}
	return "", false
}

// Temperatures that a processor can have, in thousandths of a degree. Others are those of
// a sensor that is broken.
const (
	coldest = -60_000
	hottest = 200_000
)

// celsius is of the zone that is called after the processor, or else of the first.
func (h *health) celsius() *float64 {
	zones, _ := filepath.Glob(filepath.Join(h.root, "sys/class/thermal/thermal_zone*")) // as in read
	var first *float64
	for _, zone := range zones {
		b, err := h.files.read(filepath.Join(zone, "temp"))
		if err != nil {
			continue
		}
		milli, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 32)
		if err != nil || milli < coldest || milli > hottest {
			continue
		}
		kind, _ := h.files.read(filepath.Join(zone, "type")) // without one it has no name
		celsius := float64(milli) / 1000
		if bytes.HasPrefix(kind, []byte("cpu")) {
			return &celsius
		}
		if first == nil {
			first = &celsius
		}
	}
	return first
}

// Bits of what the firmware of a Raspberry Pi says:
// https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
const (
	nowUndervoltage = 1 << 0
	nowCapped       = 1 << 1
	nowThrottled    = 1 << 2
	nowSoftLimit    = 1 << 3
	everSince       = 16 // the same bits, of the time since the board was started
)

// power reads the voltage monitor of the kernel, which is the supported way, and the word
// of the firmware, which says more and is deprecated: newer kernels may not have it.
func (h *health) power(p *board.Health) {
	for _, pattern := range []string{"sys/devices/platform/soc*/soc*:firmware/get_throttled", "sys/devices/platform/soc*:firmware/get_throttled"} {
		text, ok := h.read(pattern)
		bits, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 32)
		if !ok || err != nil {
			continue
		}
		const slowed = nowCapped | nowThrottled | nowSoftLimit
		p.Undervoltage, p.UndervoltageSeen = new(bits&nowUndervoltage != 0), new(bits>>everSince&nowUndervoltage != 0)
		p.Throttled, p.ThrottledSeen = new(bits&slowed != 0), new(bits>>everSince&slowed != 0)
		break
	}
	monitors, _ := filepath.Glob(filepath.Join(h.root, "sys/class/hwmon/hwmon*/name")) // as in read
	for _, name := range monitors {
		if kind, err := h.files.read(name); err != nil || string(bytes.TrimSpace(kind)) != "rpi_volt" {
			continue
		}
		alarm, _ := h.files.read(filepath.Join(filepath.Dir(name), "in0_lcrit_alarm")) // empty: not known
		if text := string(bytes.TrimSpace(alarm)); text == "0" || text == "1" {
			p.Undervoltage = new(text == "1")
		}
	}
	if p.Throttled == nil && h.cooled() {
		p.Throttled = new(true)
	}
}

// cooled reports whether the kernel slows the processor down to cool it. That it does not
// says nothing about the firmware, which does so by itself.
func (h *health) cooled() bool {
	kinds, _ := filepath.Glob(filepath.Join(h.root, "sys/class/thermal/cooling_device*/type")) // as in read
	for _, name := range kinds {
		kind, err := h.files.read(name)
		if err != nil || !bytes.Contains(kind, []byte("cpufreq")) {
			continue
		}
		state, err := h.files.read(filepath.Join(filepath.Dir(name), "cur_state"))
		if n, bad := strconv.Atoi(string(bytes.TrimSpace(state))); err == nil && bad == nil && n > 0 {
			return true
		}
	}
	return false
}

// available is what programs can still get, page cache included.
func (h *health) available() *uint64 {
	text, _ := h.read("proc/meminfo")
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemAvailable:" {
			if n, err := strconv.ParseUint(f[1], 10, 53); err == nil {
				return new(n << 10)
			}
		}
	}
	return nil
}

// cpuTimes are ticks since the kernel started, of all cores together.
type cpuTimes struct {
	at          time.Time
	busy, total uint64
}

// busyEvery is how often the time of the processor is looked at, at the most: over
// less it says nothing.
const busyEvery = time.Second

// busy is the part of the processor's time that was used since the look before, the
// first time since the kernel started.
func (h *health) busy() *float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cpu != nil && time.Since(h.last.at) < busyEvery {
		return h.cpu
	}
	text, _ := h.read("proc/stat")
	line, _, _ := strings.Cut(text, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return nil
	}
	now := cpuTimes{at: time.Now()}
	for i, v := range f[1:9] { // user nice system idle iowait irq softirq steal
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return nil
		}
		if now.total += n; i != 3 && i != 4 {
			now.busy += n
		}
	}
	if total := now.total - h.last.total; total > 0 {
		h.cpu = new(float64(now.busy-h.last.busy) / float64(total))
	}
	h.last = now
	return h.cpu
}

// hertz is the present clock of the first core.
func (h *health) hertz() *float64 {
	text, _ := h.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
	kilo, err := strconv.ParseUint(text, 10, 32)
	if err != nil || kilo == 0 {
		return nil
	}
	return new(float64(kilo) * 1000)
}

// lifeExceeded is the value of a card that has outlived what its maker promised; higher
// ones are reserved.
const lifeExceeded = 0x0b

// wear is what the card says of itself, in tenths, as eMMC and some cards do
// (JEDEC JESD84-B51, DEVICE_LIFE_TIME_EST).
func (h *health) wear() *float64 {
	text, ok := h.read("sys/class/block/mmcblk*/device/life_time")
	if !ok {
		return nil
	}
	worst := uint64(0)
	for part := range strings.FieldsSeq(text) {
		n, err := strconv.ParseUint(strings.TrimPrefix(part, "0x"), 16, 8)
		if err != nil || n > lifeExceeded {
			return nil
		}
		worst = max(worst, n)
	}
	if worst == 0 {
		return nil // it does not say
	}
	return new(min(float64(worst)/10, 1))
}
