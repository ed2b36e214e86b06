package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// OP-1: who follows the runs of scripts goes on when the node has been started again,
// and sees each run once.
func TestLogsAreFollowedOverARestart(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	if _, errs, code := n.run(`export default (n) => { console.log("round " + n) }`, "scripts", "push", "--name", "tick", "-"); code != 0 {
		t.Fatal(errs)
	}
	file := filepath.Join(t.TempDir(), "log")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the command has its own descriptor
	cmd := exec.CommandContext(t.Context(), binary, "scripts", "logs", "-f")
	cmd.Env, cmd.Stdout, cmd.Stderr = n.environ(), out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	says := func(text string) {
		t.Helper()
		until(t, text, func() bool { b, _ := os.ReadFile(file); return strings.Contains(string(b), text) })
	}
	n.cli("scripts", "run", "tick", "1")
	says("round 1")
	n.stop()
	says("waiting for the node")
	n.start()
	says("the node is back")
	n.cli("scripts", "run", "tick", "2")
	says("round 2")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(file)
	if err := cmd.Wait(); err != nil || strings.Count(string(b), "round 1") != 1 {
		t.Errorf("%v: %s", err, b)
	}
}

// A second 'make run' in a clone says that there is one already, rather than that it
// runs.
func TestSecondRunIsRefused(t *testing.T) {
	t.Parallel()
	clone := t.TempDir()
	for _, dir := range []string{"scripts", "var/data"} {
		if err := os.MkdirAll(filepath.Join(clone, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile("../scripts/run")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(clone, "scripts", "run"), b, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(clone, "picloud")); err != nil {
		t.Fatal(err)
	}
	script := func() *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), filepath.Join(clone, "scripts", "run"))
		cmd.Env = append(os.Environ(), "PORT=17420", "PICLOUD_APPS_DIR=")
		return cmd
	}
	first := script()
	first.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	first.Cancel = func() error { return first.Process.Signal(syscall.SIGTERM) }
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	status := func() error {
		cmd := exec.CommandContext(t.Context(), "./picloud", "status", "--data", "var/data")
		cmd.Dir = clone
		return cmd.Run()
	}
	until(t, "the first one runs", func() bool { return status() == nil })
	if out, err := script().CombinedOutput(); err == nil || !strings.Contains(string(out), "runs on ./var/data already") || strings.Contains(string(out), "PiCloud is running") {
		t.Errorf("the second one: %v: %s", err, out)
	}
	if err := status(); err != nil {
		t.Errorf("the first one: %v", err)
	}
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // of a signal, which it handles
	if err := status(); err == nil {
		t.Error("the first one still runs")
	}
}
