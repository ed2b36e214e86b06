package budget

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// The limit of a control group counts wherever it stands between the process and the
// root.
func TestGroupLimit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		self  string
		files map[string]string
		want  uint64
	}{
		"none":          {"0::/\n", nil, math.MaxUint64},
		"no limit":      {"0::/a/b\n", map[string]string{"a/b/memory.max": "max\n", "a/memory.max": "max\n"}, math.MaxUint64},
		"own":           {"0::/a/b\n", map[string]string{"a/b/memory.max": "1000\n", "a/memory.max": "max\n"}, 1000},
		"above":         {"0::/a/b\n", map[string]string{"a/b/memory.max": "5000\n", "a/memory.max": "3000\n"}, 3000},
		"at the root":   {"0::/a\n", map[string]string{"memory.max": "77\n"}, 77},
		"high is lower": {"0::/a\n", map[string]string{"a/memory.max": "5000\n", "a/memory.high": "4000\n"}, 4000},
		"version 1":     {"3:memory:/a\n", map[string]string{"a/memory.max": "1"}, math.MaxUint64},
		"nonsense":      {"0::/a\n", map[string]string{"a/memory.max": "a lot\n"}, math.MaxUint64},
	} {
		root := t.TempDir()
		for file, text := range test.files {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		self := filepath.Join(root, "self")
		if err := os.WriteFile(self, []byte(test.self), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := groupLimit(root, self); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

func TestDefaultFitsTheBoard(t *testing.T) {
	t.Parallel()
	if n := Default(); n < least || n > most {
		t.Errorf("%d bytes", n)
	}
	if sum := func() (n int) {
		for _, p := range parts {
			n += p.part
		}
		return n
	}(); sum != allParts {
		t.Errorf("the parts are %d, not %d", sum, allParts)
	}
}
