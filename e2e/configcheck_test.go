package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// OP-2: `picloud config check` refuses what `picloud serve` would refuse on this machine, names the setting, and changes nothing.
func TestConfigCheckAgreesWithServe(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	short, taken := filepath.Join(n.home, "short"), filepath.Join(n.home, "taken")
	for _, file := range []string{short, taken} {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for setting, want := range map[string]string{
		"PICLOUD_SECRETS_KEY_FILE=" + taken + "-not": "secrets.key_file: ",
		"PICLOUD_SECRETS_KEY_FILE=" + short:          "at least 16",
		"PICLOUD_SOCKET=" + taken:                    "there is something else",
		"PICLOUD_SOCKET=" + taken + "/socket":        "is no directory",
		"PICLOUD_SOCKET=@picloud":                    "socket: ",
		"PICLOUD_DATA=" + taken:                      taken,
		"PICLOUD_SPOOL=OFF":                          `write "off"`,
		"PICLOUD_APPS_DIR=Off":                       `write "off"`,
		"PICLOUD_LISTEN=192.0.2.1:7420":              "this machine does not have the address",
		"PICLOUD_LISTEN=pi.invalid:7420":             "no address is known for pi.invalid",
	} {
		n.env = []string{setting}
		for _, command := range [][]string{{"config", "check"}, {"serve"}} {
			if out, errs, code := n.run("", command...); code == 0 || !strings.Contains(errs, want) {
				t.Errorf("%s with %s: code %d, %s%s\nwant %q", command, setting, code, out, errs, want)
			}
		}
	}
	for _, setting := range []string{"PICLOUD_SPOOL", "PICLOUD_APPS_DIR"} { // with which a node serves, and warns
		n.env = []string{setting + "=" + taken}
		if out := n.cli("config", "check"); !strings.Contains(out, "give a directory") {
			t.Errorf("%s: %s", n.env, out)
		}
	}
	n.env = nil
	if err := os.RemoveAll(n.data); err != nil { // that of nodes which found their fault late
		t.Fatal(err)
	}
	if out := n.cli("config", "check"); out != "The configuration is sound.\n" {
		t.Error(out)
	}
	if _, err := os.Stat(n.data); err == nil {
		t.Error("the check has made the data directory")
	}
	n.start()
	if out := n.cli("config", "check"); out != "The configuration is sound.\n" {
		t.Errorf("while the node runs: %s", out)
	}
}

// OP-2, OP-4: what the name of a file or the text of a configuration has in it commands no terminal.
func TestErrorsCommandNoTerminal(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	file := filepath.Join(n.home, "picloud.toml")
	odd := filepath.Join(n.home, "conf.d", "a\x1b]0;mine\x07\nb.toml")
	if err := os.MkdirAll(filepath.Dir(odd), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{file: "", odd: "nome = 1\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, errs, code := n.run("", "config", "check", "--config", file)
	if code == 0 || strings.ContainsAny(errs, "\x1b\x07") || !strings.Contains(errs, "did you mean name?") {
		t.Errorf("code %d: %q", code, errs)
	}
}

// OP-2: a conf.d that is there and cannot be read is told, instead of a node without those settings.
func TestConfDThatCannotBeRead(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	file, dir := filepath.Join(n.home, "picloud.toml"), filepath.Join(n.home, "conf.d")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, create := range map[string]func() error{
		"a link to nothing": func() error { return os.Symlink("/nothing/there", dir) },
		"a file":            func() error { return os.WriteFile(dir, nil, 0o600) },
	} {
		if err := create(); err != nil {
			t.Fatal(err)
		}
		if _, errs, code := n.run("", "config", "check", "--config", file); code == 0 || !strings.Contains(errs, dir) {
			t.Errorf("%s: code %d, %s", what, code, errs)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	n.cli("config", "check", "--config", file)
}
