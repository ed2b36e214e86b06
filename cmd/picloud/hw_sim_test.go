package main

import (
	"strings"
	"testing"
)

// HW-5: a press that cannot be is refused as the command is read, and none is made.
func TestPressIsCheckedByTheCommand(t *testing.T) {
	t.Parallel()
	cfg := simulated(t)
	for _, flags := range []string{"--times 0", "--times -1", "--every -1s", "--every 0s", "--for 0s", "--for 1500us", "--for -1s", "--bounce -1ms", "--for 1ms --bounce 2ms"} {
		_, errOut, code := do(t, cfg, "", append([]string{"hw", "sim", "press", "door"}, strings.Fields(flags)...)...)
		if code != exitUsage || !strings.Contains(errOut, strings.Fields(flags)[0]) {
			t.Errorf("%s: ended with %d: %s", flags, code, errOut)
		}
	}
	if _, errOut, code := do(t, cfg, "", "hw", "sim", "press", "door", "--for", "1ms", "--times", "15000"); code != exitRefused || !strings.Contains(errOut, "at most 30 seconds") {
		t.Errorf("ended with %d: %s", code, errOut)
	}
	ok(t, cfg, "hw", "sim", "press", "door", "--for", "1ms", "--bounce", "1ms", "--times", "2")
}
