// Package e2e tests the product as its users meet it: the real binary, built
// once with the race detector, in its own process, on a real data directory,
// over real sockets, behind real proxies and in a real browser.
//
// What a single package promises is tested there; here are stories that cross
// all of them, and everything that happens to a process from outside: kill -9,
// a full disk, a damaged file, a hostile client.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/picloud/picloud/pgsync/pgtest"
)

// binary is the path of the picloud under test; binDir its folder.
var binary, binDir string

func TestMain(m *testing.M) {
	var code int
	var err error
	if a := os.Getenv(attackEnv); a != "" {
		err = attackAsTold(a)
	} else if binary = os.Getenv(boardEnv); binary != "" {
		binDir = filepath.Dir(binary)
		code = m.Run()
	} else {
		code, err = buildAndRun(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// plainBinary builds, once, the binary as it is shipped.
func plainBinary(tb testing.TB) string {
	tb.Helper()
	plainOnce.Do(func() {
		build := exec.Command("go", "build", "-o", filepath.Join(binDir, "plain"), "../cmd/picloud")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped: with it, each thread takes 8 MiB
		out, err := build.CombinedOutput()
		if err != nil {
			errPlain = fmt.Errorf("build the binary: %w: %s", err, out)
		}
	})
	if errPlain != nil {
		tb.Fatal(errPlain)
	}
	return filepath.Join(binDir, "plain")
}

var (
	plainOnce sync.Once
	errPlain  error
)

func buildAndRun(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "picloud-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // another user runs it in one test
		return 0, err
	}
	binDir = dir
	binary = filepath.Join(dir, "picloud")
	args := []string{"build", "-o", binary}
	flag.Parse()
	measured := flag.Lookup("test.bench").Value.String() != ""
	if runtime.GOARCH != "arm" && !measured { // 32-bit ARM has no race detector
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "../cmd/picloud")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return 0, fmt.Errorf("build the binary: %w", err)
	}
	return pgtest.Main(m), nil
}
