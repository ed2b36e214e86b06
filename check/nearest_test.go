package check_test

import (
	"testing"

	"github.com/picloud/picloud/check"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"limit", "after", "prefix"}
	for name, want := range map[string]string{"lmit": "limit", "Limit": "limit", "aftr": "after", "prefixes": "prefix", "x": "", "": "", "colour": ""} {
		if got := check.Nearest(name, known); got != want {
			t.Errorf("%q is taken for %q, want %q", name, got, want)
		}
	}
}
