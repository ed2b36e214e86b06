package check_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picloud/picloud/check"
)

// The examples of RFC 6901, and what is no pointer.
func TestPointer(t *testing.T) {
	t.Parallel()
	for pointer, want := range map[string][]string{
		"": nil, "/": {""}, "/foo/0": {"foo", "0"}, "/a~1b": {"a/b"}, "/m~0n": {"m~n"}, "/~01": {"~1"}, "/ä/ ": {"ä", " "},
	} {
		if got, err := check.Pointer(pointer); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q: %q, %v", pointer, got, err)
		}
	}
	for pointer, says := range map[string]string{
		"on": "does not begin with '/'", "$.on": "does not begin with '/'", "/~": "~0", "/a~2": "~0", "/~~01": "~0", "/\x00": "at most 256 bytes of UTF-8", "/" + strings.Repeat("x", 256): "at most 256",
	} {
		if got, err := check.Pointer(pointer); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %q, %v", pointer, got, err)
		}
	}
}
