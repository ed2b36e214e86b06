package main

import (
	"strings"
	"testing"
)

// What scripts and strangers have written is shown on a terminal, and neither moves its cursor
// nor passes for something else.
func TestPlain(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"all is well — 日本 👩‍🔧":        "all is well — 日本 👩‍🔧",
		"a\nb\r\x1b[31mred\x00\u009b": "a b  [31mred  ",
		"a\u202eb\u2066c\u061cd":      "a b c d",
		"a line\u2028and\u2029more":   "a line and more",
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) is %q, want %q", in, got, want)
		}
	}
	for line := range strings.SplitSeq(indented("Error: x\n    info  all is well\n  at f"), "\n") {
		if strings.HasPrefix(line, "    info") {
			t.Errorf("a stack has a line that passes for one of the console: %q", line)
		}
	}
}
