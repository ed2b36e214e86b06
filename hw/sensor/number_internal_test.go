package sensor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"golang.org/x/sys/unix"
)

// HW-4: a file without a pattern holds one decimal number alone. A text of which a part
// only looks like a number is a fault, as is a number that can be cut.
func TestNumbersInFiles(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(" ", maxFile-2)
	for _, c := range []struct {
		text, pattern string
		want          float64
		fault         string // part of it; empty: none
	}{
		{text: "21312\n", want: 21312},
		{text: " \t-0.5\r\n", want: -0.5},
		{text: ".5", want: 0.5},
		{text: "5.", want: 5},
		{text: "+1.25e-2\n", want: 0.0125},
		{text: long + "12", want: 12},

		{text: "", fault: "is empty"},
		{text: " \n", fault: "is empty"},
		{text: "0x1F", fault: "alone"},
		{text: "0x1p4", fault: "alone"},
		{text: "21,5", fault: "alone"},
		{text: "1,234.5", fault: "alone"},
		{text: "--5", fault: "alone"},
		{text: "1e", fault: "alone"},
		{text: "1e999", fault: "alone"},
		{text: "1_000", fault: "alone"},
		{text: "1\x002", fault: "alone"},
		{text: "nan", fault: "alone"},
		{text: "nan 5", fault: "alone"},
		{text: "inf", fault: "alone"},
		{text: "0.52 0.58 0.59", fault: "pattern"},
		{text: "21.5 W", fault: "pattern"},
		{text: "1.2.3", fault: "alone"},
		{text: "-", fault: "alone"},
		{text: ".", fault: "alone"},
		{text: long + "12345\n", fault: "longer than 64 KiB; say with pattern"},
		{text: "5" + long + "\n\n", fault: "longer than 64 KiB"},

		{text: "a=1 b=-.5 W", pattern: `b=(\S+)`, want: -0.5},
		{text: "b=7 " + long + "more", pattern: `b=(\d+)`, want: 7},
		{text: "b=0x1F", pattern: `b=(\S+)`, fault: "4 bytes behind the first 2, is no decimal number"},
		{text: "b=nan", pattern: `b=(\S+)`, fault: "no decimal number"},
		{text: "b=", pattern: `b=(\d*)`, fault: "no decimal number"},
		{text: "b=", pattern: `b=(\d+)?`, fault: "finds no number"},
		{text: "c=1", pattern: `b=(\d+)`, fault: "finds no number"},
		{text: long + "12345\n", pattern: `(\d+)`, fault: "may go on behind them"},
		{text: long + "x b=7", pattern: `b=(\d+)`, fault: "finds no number in the first 64 KiB"},
	} {
		name := c.text
		if len(name) > 20 {
			name = fmt.Sprintf("%d bytes", len(name))
		}
		root := machine(t, map[string]string{"run/x": c.text})
		s := complete(t, "x", driverFile, func(s *Settings) { s.Path, s.OutOfSys, s.Pattern = "/run/x", true, c.pattern })
		got := fromRoot(t, root, s)
		n, ok := got.Values[anyValue]
		if c.fault == "" && (!ok || n != c.want || got.Fault != "") || c.fault != "" && (ok || !strings.Contains(got.Fault, c.fault)) {
			t.Errorf("%q with %q: %v, %q; want %v, %q", name, c.pattern, got.Values, got.Fault, c.want, c.fault)
		}
	}
}

// HW-4: the fault of a sensor whose path is that of another file publishes nothing of that
// file, however it looks, and is short.
func TestFaultsQuoteNothingOfAFile(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"secret=\x1b[31mhunter2 9" + strings.Repeat("9", 400), "hunter2", strings.Repeat("9", 70000) + "hunter2"} {
		for _, pattern := range []string{"", "(.*)", "(?s)(.*)", "([a-z0-9]*2)", "(9+)"} {
			root := machine(t, map[string]string{"run/x": text, "run/\x1b[31mone": "1", "run/\x1b[31m" + strings.Repeat("o", 200): "1"})
			for _, path := range []string{"/run/x", "/run/*o*"} {
				s := complete(t, "x", driverFile, func(s *Settings) { s.Path, s.OutOfSys, s.Pattern = path, true, pattern })
				got := fromRoot(t, root, s).Fault
				unprintable := strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) })
				if strings.Contains(got, "hunter2") || strings.Contains(got, "999") || len(got) > 512 || unprintable {
					t.Errorf("%q says %q", pattern, got)
				}
			}
		}
	}
}

// HW-4: what is no regular file is not opened, since opening a device has effects. A pipe
// tells that it was: its writer waits for a reader.
func TestOnlyRegularFilesAreOpened(t *testing.T) {
	t.Parallel()
	root := machine(t, map[string]string{"run/x": "1"})
	pipe := filepath.Join(root, "run/pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		f, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err == nil {
			err = f.Close()
		}
		opened <- err
	}()
	s := complete(t, "x", driverFile, func(s *Settings) { s.Path, s.OutOfSys = "/run/pipe", true })
	for range 50 {
		if got := fromRoot(t, root, s); got.Fault == "" {
			t.Error("a pipe is read")
		}
	}
	select {
	case err := <-opened:
		t.Errorf("the pipe was opened: %v", err)
		return
	default:
	}
	f, err := os.OpenFile(pipe, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
