package hw

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// maxLineName is the length of the longest name that the kernel tells of a line or a chip,
// in bytes (GPIO_MAX_NAME_SIZE in linux/gpio.h, without the 0 at its end).
const maxLineName = 31

// CleanLine returns the one spelling of a line, or why no board can have such a line. A
// line is given by the name that the kernel has for it, or as CHIP:OFFSET, where the chip
// is a device or a label.
func CleanLine(name string) (string, error) {
	chip, offset, numbered := splitLine(name)
	what := name
	if numbered {
		what = chip
	}
	switch {
	case what == "" || strings.TrimSpace(what) != what || strings.ContainsFunc(what, unicode.IsControl) || len(what) > maxLineName:
		return "", fmt.Errorf("%q: use the name of a line, of at most %d bytes and without blanks around it, such as GPIO17; 'gpioinfo' lists them", name, maxLineName)
	case numbered && strings.Contains(chip, "/"):
		return "", fmt.Errorf("%q: name the chip without a path, as in gpiochip0:17", name)
	case numbered:
		return fmt.Sprintf("%s:%d", chip, offset), nil
	case looksNumbered(name):
		return "", fmt.Errorf("%q: use CHIP:OFFSET, such as gpiochip0:17, with an offset from 0 to 65535", name)
	}
	return name, nil
}

// splitLine takes CHIP:OFFSET apart; ok is false for the name of a line. No chip has more
// than 65536 lines. A label may have colons of its own.
func splitLine(name string) (chip string, offset uint32, ok bool) {
	at := strings.LastIndexByte(name, ':')
	if at < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(name[at+1:], 10, 16)
	return name[:at], uint32(n), err == nil
}

// looksNumbered reports whether a text that is not CHIP:OFFSET was meant to be: it begins
// as a device, or ends in a colon or a number that no offset can be.
func looksNumbered(name string) bool {
	chip, at, colon := strings.Cut(name, ":")
	if device, ok := strings.CutPrefix(chip, "gpiochip"); ok && strings.Trim(device, "0123456789") == "" {
		return true
	}
	last := at[strings.LastIndexByte(at, ':')+1:]
	_, err := strconv.ParseFloat(last, 64)
	return colon && (chip == "" || last == "" || err == nil)
}
