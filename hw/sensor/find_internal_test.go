package sensor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// HW-4: a path with wildcards finds what the kernel's names stand for, through symbolic
// links; what is closed, or goes round in circles, is not told as missing.
func TestFind(t *testing.T) {
	t.Parallel()
	root := machine(t, map[string]string{
		"sys/devices/a/hwmon/hwmon3/in1_input": "1", "sys/devices/b/hwmon/hwmon7/in2_input": "2", "sys/devices/plain": "3", "sys/x[1]/y": "4",
	})
	for link, to := range map[string]string{
		"sys/class/hwmon3": "../devices/a/hwmon/hwmon3", "sys/class/hwmon7": "../devices/b/hwmon/hwmon7", "sys/loop": "loop",
	} {
		if err := os.MkdirAll(filepath.Join(root, "sys/class"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string][]string{
		"/sys/class/hwmon3/in1_input":            {"/sys/class/hwmon3/in1_input"},
		"/sys/class/hwmon*/in1_input":            {"/sys/class/hwmon3/in1_input"},
		"/sys/class/hwmon?/in[12]_input":         {"/sys/class/hwmon3/in1_input", "/sys/class/hwmon7/in2_input"},
		"/sys/devices/*/hwmon/hwmon*/in*_input":  {"/sys/devices/a/hwmon/hwmon3/in1_input", "/sys/devices/b/hwmon/hwmon7/in2_input"},
		`/sys/x\[1]/y`:                           {"/sys/x[1]/y"},
		"/sys/devices/*/nothing":                 nil,
		"/sys/devices/plain/*/nothing":           nil,
		"/sys/devices/plain/nothing":             nil,
		"/sys/devices/*/hwmon/hwmon3/in1_input/": {"/sys/devices/a/hwmon/hwmon3/in1_input"},
	} {
		got, err := find(t.Context(), root, path)
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], root)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	if _, err := find(t.Context(), root, "/sys/loop/x"); err == nil || !strings.Contains(err.Error(), "too many levels of symbolic links") {
		t.Errorf("a circle of links: %v", err)
	}
}

// HW-4: a path whose wildcards come past a host of names is a fault that says so, in
// bounded time and memory, and no reading that never returns.
func TestWideSearchIsBounded(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for i := range 10 {
		for k := range 10 {
			folder := filepath.Join(root, fmt.Sprintf("sys/%d/%d", i, k))
			if err := os.MkdirAll(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			for n := range 10 { // each leads back to the beginning
				if err := os.Symlink(filepath.Join(root, "sys"), filepath.Join(folder, fmt.Sprint(n))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	s := complete(t, "x", driverFile, func(s *Settings) { s.Path = "/sys/*/*/*/*/x" })
	if got := fromRoot(t, root, s); !strings.Contains(got.Fault, "leads past more than 4096 names: write fewer wildcards") {
		t.Errorf("%q", got.Fault)
	}
	over, end := context.WithCancel(t.Context())
	end()
	if _, err := find(over, root, s.Path); err == nil || !strings.Contains(err.Error(), "were not found within") {
		t.Errorf("a search that is out of time: %v", err)
	}
	for _, path := range []string{"/*/*/*/*/*/*/*/x", "/sys/*/*/*/*/*/*/*/*/x", "/sys/?/[a-z]/a*/b*/c*/x"} {
		s := Settings{Name: "x", Driver: driverFile, Topic: "x", Path: path, OutOfSys: true, Every: MinEvery}
		if _, faults := s.Complete(); faults["path"] == nil || !strings.Contains(faults["path"].Error(), "name all but 4") {
			t.Errorf("%s: %v", path, faults)
		}
	}
}
