package daemon_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/picloud/picloud/daemon"
)

// relink puts a link in the place of another.
func relink(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
}

// OP-2: a change is followed wherever it happens: in the target of a link, of the file, of a file
// in conf.d or of a directory on the way to them, as Kubernetes and tools for dotfiles have it.
func TestReloadFollowsLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	level := func(name string) string { return fmt.Sprintf("log.level = %q\n", name) }
	put("..v1/picloud.toml", "")
	put("..v2/picloud.toml", "name = \"swapped\"\n")
	relink(t, "..v1", filepath.Join(dir, "..data"))
	relink(t, "..data/picloud.toml", filepath.Join(dir, "picloud.toml"))
	put("elsewhere/drop.toml", "")
	if err := os.Mkdir(filepath.Join(dir, "conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	relink(t, "../elsewhere/drop.toml", filepath.Join(dir, "conf.d", "10.toml"))

	cfg := config(t)
	file := filepath.Join(dir, "picloud.toml")
	load := func() (daemon.Config, error) {
		c, err := daemon.Load(daemon.Source{File: file})
		c.Data, c.Listen, c.ReserveBytes = cfg.Data, cfg.Listen, cfg.ReserveBytes
		return c, err
	}
	first, err := load()
	if err != nil {
		t.Fatal(err)
	}
	_, log, _ := start(t, first, daemon.Options{Reload: load, Watch: []string{file}})

	relink(t, "..v2", filepath.Join(dir, "..data")) // the names beside it stay as they are
	waitFor(t, log, "needs_restart=[name]")
	put("..v2/picloud.toml", "name = \"swapped\"\nspool = \"off\"\n") // in place
	waitFor(t, log, "needs_restart=[spool]")
	put("elsewhere/drop.toml", "listen = \"1.2.3.4:80\"\n"+level("loud"))
	waitFor(t, log, "conf.d/10.toml:2: log.level: ")
	put("..v3/picloud.toml", "name = \"swapped\"\nspool = \"off\"\ncluster = \"of\"\n")
	relink(t, "..v3", filepath.Join(dir, "..data"))
	waitFor(t, log, "picloud.toml:3: cluster: ")
	put("..v4/picloud.toml", "name = \"swapped\"\nspool = \"off\"\n")
	relink(t, "..v4", filepath.Join(dir, "..data"))
	put("elsewhere/drop.toml", level("error"))
	waitFor(t, log, "applied=[log.level]")
}

// The key of secrets and the URL of the database are files, too: a new key is told, since the
// secrets that are there need the one before.
func TestChangedKeyIsTold(t *testing.T) {
	t.Parallel()
	file, first, load := reloadable(t)
	dir := t.TempDir()
	for _, version := range []string{"1", "2"} {
		if err := os.WriteFile(filepath.Join(dir, version), []byte(strings.Repeat(version, 32)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first.SecretsKey = filepath.Join(dir, "key")
	relink(t, "1", first.SecretsKey)
	_, log, _ := start(t, first, daemon.Options{Reload: func() (daemon.Config, error) {
		c, err := load()
		c.SecretsKey = first.SecretsKey
		return c, err
	}, Watch: []string{file}})
	relink(t, "2", first.SecretsKey)
	waitFor(t, log, "secrets.key_file has another key")
}

// OP-2: in conf.d only files of the operator count: those of editors do not, and what is no
// file is a fault instead of a wait.
func TestOddDropIns(t *testing.T) {
	t.Parallel()
	file := write(t, map[string]string{"picloud.toml": "", "conf.d/10.toml": "name = \"x\"\n", "conf.d/.#10.toml": "= nonsense", "conf.d/10.toml~": "= nonsense", "conf.d/10.toml.dpkg-old": "= nonsense"})
	dir := filepath.Join(filepath.Dir(file), "conf.d")
	relink(t, "user@host.1234", filepath.Join(dir, ".#20.toml"))
	if c, err := daemon.Load(daemon.Source{File: file}); err != nil || c.Name != "x" {
		t.Errorf("%q, %v", c.Name, err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "30.toml"), 0o600); err != nil {
		t.Fatal(err)
	}
	relink(t, "nowhere", filepath.Join(dir, "40.toml"))
	_, err := daemon.Load(daemon.Source{File: file})
	if err == nil || !strings.Contains(err.Error(), "30.toml is no regular file") || !strings.Contains(err.Error(), "40.toml: no such file") {
		t.Errorf("%v", err)
	}
	odd := filepath.Join(t.TempDir(), "[a")
	if err := os.Mkdir(odd, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Dir(file), filepath.Join(odd, "etc")); err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.Load(daemon.Source{File: filepath.Join(odd, "etc", "picloud.toml")}); err == nil {
		t.Error("the files of conf.d in a folder with a [ are not read")
	}
	if _, err := daemon.Load(daemon.Source{File: os.DevNull}); err != nil {
		t.Errorf("no configuration at all: %v", err)
	}
}
