package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud/daemon"
	"github.com/picloud/picloud/logtest"
	"github.com/picloud/picloud/store"
)

// start runs a daemon and returns its address and how to stop it.
func start(t *testing.T, cfg daemon.Config, opt daemon.Options) (addr string, log *logtest.Buffer, stop func() error) {
	t.Helper()
	log = new(logtest.Buffer)
	serves := make(chan string, 1)
	opt.Log, opt.Serves = log, func(a string) { serves <- a }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- daemon.Run(ctx, cfg, opt) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	select {
	case addr = <-serves:
	case err := <-done:
		t.Fatalf("did not start: %v\n%s", err, log)
	}
	return addr, log, stop
}

func config(t *testing.T) daemon.Config {
	t.Helper()
	c := daemon.DefaultConfig()
	c.Data, c.Listen, c.ReserveBytes = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", -1
	return c
}

// OP-5: alive and ready while serving; everything ends when told, again and
// again, and nothing of it is left.
func TestStartAndStopLeaveNothing(t *testing.T) {
	cfg := config(t)
	before := 0
	for round := range 5 {
		addr, log, stop := start(t, cfg, daemon.Options{})
		for _, path := range []string{"/healthz", "/readyz"} {
			res, err := http.Get("http://" + addr + path)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode != 200 {
				t.Errorf("%s: %d", path, res.StatusCode)
			}
		}
		began := time.Now()
		if err := stop(); err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, log)
		}
		t.Logf("stopped in %v", time.Since(began))
		http.DefaultClient.CloseIdleConnections()
		if round == 0 {
			before = runtime.NumGoroutine()
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d after the first round\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // goroutines have no signal
	}
}

// Told to stop at any moment of its start or just after, a node ends soon and
// without an error, and leaves no goroutine and no descriptor.
func TestStopAtAnyMoment(t *testing.T) { //nolint:paralleltest // counts what the process has
	cfg := config(t)
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	routines, files := 0, 0
	for round := range 60 {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Duration(rand.IntN(15_000))*time.Microsecond, cancel)
		began := time.Now()
		if err := daemon.Run(ctx, cfg, daemon.Options{Log: io.Discard}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("round %d: it took %v to end", round, took)
		}
		if round == 0 {
			routines, files = runtime.NumGoroutine(), descriptors()
		}
	}
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > routines || descriptors() > files; {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines and %d descriptors, after the first round %d and %d", runtime.NumGoroutine(), descriptors(), routines, files)
		}
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // they have no signal
	}
}

// A second daemon on the same directory, or on the same port, is refused with
// what to do; the first goes on.
func TestSecondDaemonIsRefused(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	addr, _, _ := start(t, cfg, daemon.Options{})
	err := daemon.Run(context.Background(), cfg, daemon.Options{Log: io.Discard})
	if _, locked := errors.AsType[*store.LockedError](err); !locked {
		t.Errorf("same directory: %v", err)
	}
	other := config(t)
	other.Listen = addr
	if err = daemon.Run(context.Background(), other, daemon.Options{Log: io.Discard}); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("same port: %v", err)
	}
	res, err := http.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
}

// A directory that cannot be one is told at once.
func TestDataThatIsNoDirectory(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	if err := os.WriteFile(cfg.Data, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Run(context.Background(), cfg, daemon.Options{Log: io.Discard}); err == nil || !strings.Contains(err.Error(), cfg.Data) {
		t.Errorf("%v", err)
	}
}

// The socket of a dead process is replaced.
func TestStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	_, _, stop := start(t, cfg, daemon.Options{})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.SocketPath(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Run(context.Background(), cfg, daemon.Options{Log: io.Discard}); err == nil || !strings.Contains(err.Error(), "--socket") {
		t.Errorf("a file in the place of the socket: %v", err)
	}
}

// reloadable writes a configuration file and returns what reads it.
func reloadable(t *testing.T) (file string, first daemon.Config, load func() (daemon.Config, error)) {
	t.Helper()
	file = write(t, map[string]string{"picloud.toml": "name = \"a\"\n"})
	cfg := config(t)
	load = func() (daemon.Config, error) {
		c, err := daemon.Load(daemon.Source{File: file})
		c.Data, c.Listen, c.ReserveBytes = cfg.Data, cfg.Listen, cfg.ReserveBytes
		return c, err
	}
	first, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return file, first, load
}

// OP-2: a changed file is read again whole or not at all; what needs a restart
// is said.
func TestReload(t *testing.T) {
	t.Parallel()
	file, first, load := reloadable(t)
	_, log, _ := start(t, first, daemon.Options{Reload: load, Watch: []string{file}})
	replace := func(text, want string) {
		t.Helper()
		tmp := file + ".new"
		if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, file); err != nil { // as editors do
			t.Fatal(err)
		}
		waitFor(t, log, want)
	}
	replace("name = \"b\"\nlog.level = \"loud\"\n", "configuration was not reloaded")
	if strings.Contains(log.String(), "configuration reloaded") {
		t.Fatal("half of a faulty file was applied")
	}
	replace("name = \"b\"\nlog.level = \"warn\"\n", fmt.Sprintf("applied=%s needs_restart=%s", "[log.level]", "[name]"))
}

// OP-2: nothing is missed: a file that changes while the node starts, a
// directory of drop-ins that is made later.
func TestReloadMissesNothing(t *testing.T) {
	t.Parallel()
	file, first, load := reloadable(t)
	if err := os.WriteFile(file, []byte("name = \"b\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, log, _ := start(t, first, daemon.Options{Reload: load, Watch: []string{file}})
	waitFor(t, log, "needs_restart=[name]")
	dir := filepath.Join(filepath.Dir(file), "conf.d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "quiet.toml"), []byte("log.level = \"warn\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, log, "applied=[log.level]")
}

// waitFor waits until the log holds a text.
func waitFor(t *testing.T, log fmt.Stringer, want string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), want); {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %q in\n%s", want, log)
		}
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // the log has no signal
	}
}
