package hw

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"

	"periph.io/x/host/v3/distro"
)

// deviceTree is where the kernel shows the device tree. /proc/device-tree is a link to
// it, which a service with ProcSubset=pid cannot follow.
const deviceTree = "sys/firmware/devicetree/base"

// model is from the device tree, or from the firmware of a PC.
func (h *health) model() *string {
	for _, name := range []string{deviceTree + "/model", "sys/class/dmi/id/product_name"} {
		if text, ok := h.read(name); ok && text != "" {
			return &text
		}
	}
	return nil
}

// revision returns the revision code of a Raspberry Pi; 0: unknown.
func (h *health) revision() uint32 {
	b, err := h.files.read(filepath.Join(h.root, deviceTree, "system/linux,revision"))
	if err != nil || len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// processors of Raspberry Pis by bits 12 to 15 of the revision code:
// https://www.raspberrypi.com/documentation/computers/raspberry-pi.html#raspberry-pi-revision-codes
var processors = []string{"BCM2835", "BCM2836", "BCM2837", "BCM2711", "BCM2712"}

// processor is from the revision code of a Raspberry Pi, or as the kernel names it.
func (h *health) processor(revision uint32) *string {
	const newStyle = 1 << 23
	if i := int(revision >> 12 & 0xf); revision&newStyle != 0 && i < len(processors) {
		return &processors[i]
	}
	if revision != 0 && revision&newStyle == 0 { // before the Raspberry Pi 2
		return &processors[0]
	}
	if h.root != "/" {
		return nil
	}
	if text := strings.TrimSpace(distro.CPUInfo()["model name"]); text != "" {
		return &text
	}
	return nil
}

// revisionText is a revision code as Raspberry Pi documents it; nil: unknown.
func revisionText(code uint32) *string {
	if code == 0 {
		return nil
	}
	return new(fmt.Sprintf("%04x", code))
}
