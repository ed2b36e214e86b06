package script_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/script"
)

// An app that has no worker gets one that is ready, and the next is made ready in
// its place. Workers that the kernel has ended, as it does when memory is short, cost
// no run.
func TestOneWorkerIsReady(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	exe, list := filepath.Join(t.TempDir(), "worker"), filepath.Join(t.TempDir(), "started")
	if err := os.WriteFile(exe, fmt.Appendf(nil, "#!/bin/sh\necho $$ >> %s\nexec %s \"$@\"\n", list, self), 0o700); err != nil { // #nosec G306 -- it is executed
		t.Fatal(err)
	}
	// started waits until so many workers were started, and returns them.
	started := func(n int) (pids []int) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
			b, _ := os.ReadFile(list)
			pids = nil
			for f := range strings.FieldsSeq(string(b)) {
				pid, _ := strconv.Atoi(f)
				pids = append(pids, pid)
			}
			if len(pids) >= n {
				break
			}
		}
		if len(pids) != n {
			t.Fatalf("%d workers were started, want %d", len(pids), n)
		}
		return pids
	}
	h := &shelf{scripts: map[string]string{}}
	for _, app := range []string{"a", "b", "c"} {
		h.scripts[app+"/main"] = `export default () => 1`
	}
	r := newRunner(t, script.Config{Host: h, Executable: exe, Workers: 8})
	run := func(app string) {
		t.Helper()
		if _, err := r.Do(t.Context(), script.Job{App: app, Script: "main"}); err != nil {
			t.Errorf("%s: %v", app, err)
		}
	}
	run("a")
	first := started(2) // its own, and the spare one
	run("a")
	run("b")
	if now := started(3); !slices.Equal(now[:2], first) {
		t.Errorf("%v, then %v", first, now)
	}
	idle, _ := r.Workers()
	if idle != 2 {
		t.Errorf("%d workers belong to apps, want 2", idle)
	}
	for _, pid := range started(3) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	for !r.AllGone() {
		<-time.After(time.Millisecond)
	}
	for _, app := range []string{"a", "b", "c"} {
		run(app)
	}
}

// TestSlowStartIsNoFault has workers that take longer to start than their run may take,
// and some that never get ready.
func TestSlowStartIsNoFault(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(t.TempDir(), "worker")
	if err := os.WriteFile(exe, fmt.Appendf(nil, "#!/bin/sh\nsleep 2\nexec %s \"$@\"\n", self), 0o700); err != nil { // #nosec G306 -- it is executed
		t.Fatal(err)
	}
	job := script.Job{App: "a", Script: "main", Limits: script.Limits{Total: 1500 * time.Millisecond}}
	h := &shelf{scripts: map[string]string{"a/main": `export default () => 1`}}
	slow := newRunner(t, script.Config{Host: h, Executable: exe})
	if res, err := slow.Do(t.Context(), job); err != nil || string(res.Output) != "1" {
		t.Errorf("behind a worker that is slow to start: %s, %v", res.Output, err)
	}
	never := newRunner(t, script.Config{Host: h, Executable: exe, StartTimeout: 10 * time.Millisecond, Record: func(picloud.Run) string {
		t.Error("a run that had no worker has a record")
		return ""
	}})
	var e *script.Error
	if _, err := never.Do(t.Context(), job); !errors.As(err, &e) || e.Reason != script.ReasonNoWorker || !e.Unavailable() || e.Permanent() {
		t.Errorf("without a worker: %v", err)
	}
}
