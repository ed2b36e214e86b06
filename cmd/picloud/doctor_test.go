package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picloud/picloud/daemon"
)

// examined runs doctor and returns what it found by check.
func examined(t *testing.T, cfg daemon.Config, args ...string) map[string]finding {
	t.Helper()
	out, errOut, _ := do(t, cfg, "", append([]string{"doctor", "--json"}, args...)...)
	var list []finding
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v: %s %s", err, out, errOut)
	}
	found := map[string]finding{}
	for _, f := range list {
		if !f.OK && f.Fix == "" {
			t.Errorf("%s: %q comes without a remedy", f.Check, f.Says)
		}
		found[f.Check] = f
	}
	return found
}

// OP-1: doctor says of each fault what it is and how to mend it.
func TestDoctor(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	found := examined(t, cfg)
	for _, check := range []string{"configuration", "data", "space", "files", "node"} {
		if f := found[check]; !f.OK {
			t.Errorf("of a sound node: %+v", f)
		}
	}
	if err := os.Chmod(cfg.Data, 0o755); err != nil { // #nosec G302 -- that is the fault
		t.Fatal(err)
	}
	if f := examined(t, cfg)["data"]; f.OK {
		t.Errorf("a data directory open to everybody: %+v", f)
	}
}

func TestDoctorWithoutANode(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }() // nothing was sent
	file := filepath.Join(t.TempDir(), "picloud.toml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("listen = \"" + ln.Addr().String() + "\"\n")
	found := examined(t, daemon.Config{Data: filepath.Join(t.TempDir(), "none")}, "--config", file)
	var bad []string
	for check, f := range found {
		if !f.OK && check != "clock" {
			bad = append(bad, check)
		}
	}
	slices.Sort(bad)
	if !slices.Equal(bad, []string{"data", "node", "port"}) {
		t.Errorf("faults found: %v", bad)
	}
	write("lisen = \"x\"\n")
	if f := examined(t, daemon.Config{Data: t.TempDir()}, "--config", file)["configuration"]; f.OK {
		t.Errorf("a fault in the configuration: %+v", f)
	}
}

// OP-1: a fault in the configuration hides neither a node that runs from the commands, nor the
// node's own findings from doctor.
func TestFaultInTheConfigurationHidesNoNode(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	file := filepath.Join(t.TempDir(), "picloud.toml")
	if err := os.WriteFile(file, []byte("data = \""+cfg.Data+"\"\n[log]\nlevel = \"nope\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run([]string{"--config", file, "status"}, strings.NewReader(""), &out, &errs); code != 0 {
		t.Errorf("status ended with %d: %s", code, &errs)
	}
	out.Reset()
	run([]string{"--config", file, "doctor"}, strings.NewReader(""), &out, &errs)
	for _, want := range []string{"log.level", " runs, "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("doctor does not say %q:\n%s", want, &out)
		}
	}
}

// OP-5: a card that is worn too fast is a finding.
func TestDoctorSeesWear(t *testing.T) {
	t.Parallel()
	cfg := newConfig(t)
	cfg.WearBudget = 1000
	t.Cleanup(runNode(t, cfg))
	ok(t, cfg, "publish", "door", "1")
	if f := examined(t, cfg)["node"]; f.OK || !strings.Contains(f.Says, "budget") {
		t.Errorf("%+v", f)
	}
	if out := ok(t, cfg, "status"); !strings.Contains(out, "written in the last day") {
		t.Errorf("status: %s", out)
	}
}
