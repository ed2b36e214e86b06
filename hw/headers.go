package hw

import (
	"regexp"
	"strings"
)

// contact is a pin of a header.
type contact struct {
	name     string
	line     int    // of the header's chip; -1: supply or ground
	function string // what Raspberry Pi OS uses the line for where that is enabled
	bus      string // that has the line while the kernel runs it; empty: none does
}

// Names of contacts that are no lines.
const (
	supply3 = "3V3"
	supply5 = "5V"
	ground  = "GND"
)

func supply(name string) contact { return contact{name: name, line: -1} }

// header40 is the header of every Raspberry Pi with 40 pins:
// https://www.raspberrypi.com/documentation/computers/raspberry-pi.html#gpio
var header40 = []contact{
	supply(supply3), supply(supply5),
	{"GPIO2", 2, "I2C1 SDA", busI2C},
	supply(supply5),
	{"GPIO3", 3, "I2C1 SCL", busI2C},
	supply(ground),
	{"GPIO4", 4, "1-wire", ""},
	{"GPIO14", 14, "UART TX", busUART},
	supply(ground),
	{"GPIO15", 15, "UART RX", busUART},
	{"GPIO17", 17, "SPI1 CE1", ""},
	{"GPIO18", 18, "PCM CLK", ""},
	{"GPIO27", 27, "", ""},
	supply(ground),
	{"GPIO22", 22, "", ""},
	{"GPIO23", 23, "", ""},
	supply(supply3),
	{"GPIO24", 24, "", ""},
	{"GPIO10", 10, "SPI0 MOSI", busSPI},
	supply(ground),
	{"GPIO9", 9, "SPI0 MISO", busSPI},
	{"GPIO25", 25, "", ""},
	{"GPIO11", 11, "SPI0 SCLK", busSPI},
	{"GPIO8", 8, "SPI0 CE0", ""},
	supply(ground),
	{"GPIO7", 7, "SPI0 CE1", ""},
	{"GPIO0", 0, "ID SDA", ""},
	{"GPIO1", 1, "ID SCL", ""},
	{"GPIO5", 5, "", ""},
	supply(ground),
	{"GPIO6", 6, "", ""},
	{"GPIO12", 12, "PWM0", ""},
	{"GPIO13", 13, "PWM1", ""},
	supply(ground),
	{"GPIO19", 19, "PCM FS", ""},
	{"GPIO16", 16, "SPI1 CE2", ""},
	{"GPIO26", 26, "", ""},
	{"GPIO20", 20, "PCM DIN", ""},
	supply(ground),
	{"GPIO21", 21, "PCM DOUT", ""},
}

// header26 is the header of the first boards, from their second revision.
var header26 = header40[:26]

// header26First is the one of their first revision, where three lines differ.
var header26First = func() []contact {
	list := append([]contact{}, header26...)
	list[2] = contact{"GPIO0", 0, "I2C0 SDA", ""}
	list[4] = contact{"GPIO1", 1, "I2C0 SCL", ""}
	list[12] = contact{"GPIO21", 21, "", ""}
	return list
}()

// Chips that headers are wired to, by their labels.
var headerChips = []string{"pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835"}

// firstBoards are the models with 26 pins: Raspberry Pi Model A, Model B, Model B Rev 2.
var firstBoards = regexp.MustCompile(`^Raspberry Pi Model ([AB])( [Rr]ev ?([0-9.]+))?$`)

const piPrefix = "Raspberry Pi "

// isPi reports whether a model is a Raspberry Pi; nil is unknown.
func isPi(model *string) bool {
	return model != nil && strings.HasPrefix(*model, piPrefix)
}

// headerOf returns the header of a model; nil: it is unknown, or depends on the board that
// a module is plugged into.
func headerOf(model string) []contact {
	if !strings.HasPrefix(model, piPrefix) {
		return nil
	}
	if first := firstBoards.FindStringSubmatch(model); first != nil {
		if first[1] == "B" && (first[3] == "" || strings.HasPrefix(first[3], "1")) {
			return header26First
		}
		return header26
	}
	if strings.Contains(model, "Compute Module") {
		return nil
	}
	return header40
}
