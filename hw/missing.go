package hw

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/picloud/picloud/board"
)

// missing says of what is unknown about the board why it is, and how to mend that.
func (b *Board) missing(p *board.Health) []board.Missing {
	list := []board.Missing{}
	h := &b.health
	add := func(what, fix string, patterns ...string) {
		why, known := h.why(patterns...)
		if known != "" {
			fix = known
		}
		list = append(list, board.Missing{What: what, Why: why, Fix: fix})
	}
	pi := isPi(p.Model)
	if p.Model == nil {
		add("model", "In a container show it to the node, in Docker with '--security-opt systempaths=unconfined'.", deviceTree+"/model", "sys/class/dmi/id/product_name")
	}
	if p.Celsius == nil {
		fix := "A virtual machine has no sensor; on a real one load the kernel's driver for it."
		if pi {
			fix = "Load the kernel's driver: 'modprobe bcm2835_thermal'."
		}
		add("celsius", fix, "sys/class/thermal/thermal_zone*/temp")
	}
	if p.Undervoltage == nil {
		fix := "Only a Raspberry Pi reports it."
		if pi {
			fix = "Load the kernel's driver: 'modprobe raspberrypi-hwmon'. A Pi Zero has no voltage monitor."
		}
		add("undervoltage", fix, "sys/class/hwmon/hwmon*/in0_lcrit_alarm")
	}
	if p.Throttled == nil {
		fix := "Only a Raspberry Pi reports it."
		if pi {
			fix = "This kernel does not report it; 'vcgencmd get_throttled' asks the firmware."
		}
		add("throttled", fix, "sys/devices/platform/soc*/soc*:firmware/get_throttled", "sys/devices/platform/soc*:firmware/get_throttled")
	}
	if p.MemoryAvailable == nil {
		add("memory_available", "Let the node see /proc: its unit must not have ProcSubset=pid.", "proc/meminfo")
	}
	if p.CPU == nil {
		add("cpu", "Let the node see /proc: its unit must not have ProcSubset=pid.", "proc/stat")
	}
	if p.Wear == nil {
		add("wear", "Cards do not report it, only eMMC does: watch what is written ('picloud status') instead.", "sys/class/block/mmcblk*/device/life_time")
	}
	return list
}

// why says why nothing is known from files of the kernel, and how to mend that where
// anything can be done about the files themselves.
func (h *health) why(patterns ...string) (why, fix string) {
	for _, pattern := range patterns {
		names, _ := filepath.Glob(filepath.Join(h.root, pattern)) // the patterns are sound
		for _, name := range names {
			shown := "/" + strings.TrimPrefix(strings.TrimPrefix(name, h.root), "/")
			switch _, err := h.files.read(name); {
			case errors.Is(err, fs.ErrPermission):
				return shown + " is closed to this user", "Open it to the user of the node: 'chmod a+r " + shown + "', or what keeps it closed, such as AppArmor or a container."
			case err != nil:
				return shown + " cannot be read: " + plainCause(err), ""
			default:
				return shown + " does not tell", ""
			}
		}
	}
	top, _, _ := strings.Cut(patterns[0], "/")
	if entries, err := os.ReadDir(filepath.Join(h.root, top)); err != nil || len(entries) == 0 {
		return "/" + top + " is not there", "Let the node see it: a container needs the host's, as in 'docker run -v /" + top + ":/" + top + ":ro'."
	}
	return "the kernel has no /" + patterns[0], ""
}

// plainCause is the innermost cause of an error about a file, without the name.
func plainCause(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
