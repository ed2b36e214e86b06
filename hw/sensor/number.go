package sensor

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// maxFile is how much of a file is read, in bytes.
const maxFile = 64 << 10

// decimal is a number as it is accepted. strconv takes more, such as hexadecimal ones.
var decimal = regexp.MustCompile(`^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$`)

// number returns the number in a file: what the first group of the pattern matches, or,
// without a pattern, the one that the file holds alone but for white space. Its faults
// quote nothing of the file, which can be any that the settings name by mistake.
func (s *Settings) number(path string) (float64, error) {
	b, err := readStart(path, maxFile+1)
	if err != nil {
		return 0, err
	}
	longer := len(b) > maxFile
	b = b[:min(len(b), maxFile)]
	if s.pattern != nil {
		return s.matched(path, b, longer)
	}
	hint := ""
	if s.Driver == driverFile {
		hint = "; say with pattern where in it the number is"
	}
	if longer {
		return 0, faultf("%s is longer than %d KiB%s", shown(path), maxFile>>10, hint)
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return 0, faultf("%s has no number: it is empty", shown(path))
	}
	n, ok := parse(b)
	if !ok {
		return 0, faultf("%s is not one decimal number alone, such as -21.5%s", shown(path), hint)
	}
	return n, nil
}

// matched returns the number that the pattern finds in the beginning of a file, which may
// be longer.
func (s *Settings) matched(path string, b []byte, longer bool) (float64, error) {
	where := shown(path)
	if longer {
		where = fmt.Sprintf("the first %d KiB of %s", maxFile>>10, where)
	}
	at := s.pattern.FindSubmatchIndex(b)
	switch {
	case at == nil || at[2] < 0:
		return 0, faultf("the pattern finds no number in %s", where)
	case longer && at[1] == len(b):
		return 0, faultf("what the pattern finds in %s may go on behind them", where)
	}
	n, ok := parse(b[at[2]:at[3]])
	if !ok {
		return 0, faultf("what the pattern finds in %s, %d bytes behind the first %d, is no decimal number such as -21.5", where, at[3]-at[2], at[2])
	}
	return n, nil
}

// parse returns a decimal number that is the whole text.
func parse(text []byte) (float64, bool) {
	if !decimal.Match(text) {
		return 0, false
	}
	n, err := strconv.ParseFloat(string(text), 64)
	return n, err == nil && !math.IsInf(n, 0)
}

// readStart reads up to a number of bytes of a regular file. It opens nothing else, since
// opening a device can have effects: that of /dev/watchdog restarts the board later.
func readStart(path string, most int64) ([]byte, error) {
	place, err := os.OpenFile(path, unix.O_PATH, 0) // #nosec G304 -- the operator names it
	if err != nil {
		return nil, err
	}
	defer func() { _ = place.Close() }() // nothing is read through it
	info, err := place.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, faultf("%s is no regular file but a %s, and was not opened", shown(path), typeOf(info.Mode()))
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", place.Fd()), os.O_RDONLY|unix.O_NONBLOCK, 0) // the same file, whatever path leads to by now
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, most))
}

// typeOf names what is no regular file.
func typeOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "folder"
	case mode&fs.ModeDevice != 0:
		return "device"
	case mode&fs.ModeNamedPipe != 0:
		return "pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "thing of another kind"
}

// maxShown is how much of a file's name a fault has, in characters.
const maxShown = 120

// shown returns the name of a file for people. Names that were found have whatever
// characters their makers gave them.
func shown(name string) string {
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
	if r := []rune(name); len(r) > maxShown {
		return string(r[:maxShown]) + "…"
	}
	return name
}
