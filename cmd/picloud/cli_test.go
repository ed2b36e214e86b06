package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud/api"
	"github.com/picloud/picloud/daemon"
)

// startNode runs a real node in this process.
func startNode(t *testing.T) daemon.Config {
	t.Helper()
	cfg := newConfig(t)
	t.Cleanup(runNode(t, cfg))
	return cfg
}

// newConfig returns the configuration of a new node. Its folder has a short
// name, because the path of a socket may have 107 bytes at most.
func newConfig(t *testing.T) daemon.Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "pc-") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := daemon.DefaultConfig()
	cfg.Data, cfg.Listen = filepath.Join(dir, "data"), "127.0.0.1:0"
	return cfg
}

// runNode runs a node until the returned function is called.
func runNode(t *testing.T, cfg daemon.Config) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	serves, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, cfg, daemon.Options{
			Build: daemon.Build{Version: version}, Log: io.Discard, Serves: func(addr string) { serves <- addr },
		})
	}()
	select {
	case <-serves:
	case err := <-ended:
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// do runs a command as main does.
func do(t *testing.T, cfg daemon.Config, in string, args ...string) (out, errOut string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(append([]string{"--data", cfg.Data}, args...), strings.NewReader(in), &o, &e)
	return o.String(), e.String(), code
}

// ok runs a command that must succeed.
func ok(t *testing.T, cfg daemon.Config, args ...string) string {
	t.Helper()
	out, errOut, code := do(t, cfg, "", args...)
	if code != 0 {
		t.Fatalf("%v ended with %d: %s", args, code, errOut)
	}
	return out
}

// OP-11: the version is semantic, the changelog knows it or says Unreleased, and
// a node says the same as the binary.
func TestVersion(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	var v struct{ Version, API, Client string }
	if err := json.Unmarshal([]byte(ok(t, cfg, "version", "--json")), &v); err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9a-z.]+)?$`).FindStringSubmatch(v.Version)
	if m == nil || v.API != "v1" {
		t.Fatalf("version %+v", v)
	}
	pkg, err := os.ReadFile("../../clients/typescript/package.json")
	if err != nil || !strings.Contains(string(pkg), `"version": "`+v.Client+`"`) {
		t.Errorf("package.json of the client does not have the version %q: %v", v.Client, err)
	}
	heading := "## [" + v.Version + "]"
	if m[1] == "-dev" {
		heading = "## [Unreleased]"
	}
	log, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil || !strings.Contains(string(log), heading) {
		t.Errorf("CHANGELOG.md has no %s: %v", heading, err)
	}
	if out := ok(t, cfg, "version"); !strings.HasPrefix(out, "picloud "+v.Version) {
		t.Errorf("for people: %q", out)
	}
	if out := ok(t, cfg, "status", "--json"); !strings.Contains(out, `"version": "`+v.Version+`"`) {
		t.Errorf("the node says %s", out)
	}
}

// OP-1: every exit code that the help promises.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	away := daemon.Config{Data: t.TempDir()}
	for _, test := range []struct {
		cfg  daemon.Config
		code int
		says string
		args string
	}{
		{cfg, 0, "", "apps"},
		{cfg, 0, "", "status"},
		{cfg, 1, "no such file", "restore no-such-file"},
		{cfg, 2, "did you mean topics", "topisc"},
		{cfg, 2, "did you mean list", "apps lsit"},
		{cfg, 2, "unknown flag", "apps list --nope"},
		{cfg, 2, "apps show APP [flags]: it takes 1 argument, and 0 were given", "apps show"},
		{cfg, 2, "it takes no arguments, and 1 was given", "apps list x"},
		{cfg, 2, "it takes 2 arguments, and 1 was given", "hw set lamp"},
		{cfg, 2, "it takes 2 to 3 arguments, and 4 were given", "hw pulse lamp 1s on off"},
		{cfg, 2, "it takes at most 1 argument, and 2 were given", "backup a b"},
		{cfg, 2, "it takes 1 argument or more, and 0 were given", "subscribe"},
		{cfg, 2, "on or off", "topics external door maybe"},
		{cfg, 2, "1s or more", "keys create --scope app:read --ttl 500ms"},
		{cfg, 2, "1s or more", "tokens mint door --ttl -1h"},
		{away, 3, "no node answers", "apps list"},
		{cfg, 4, "exists already", "apps create default"},
		{cfg, 4, "not valid", "apps create Wrong"},
		{cfg, 5, "no such app: List the apps you may see with 'picloud apps list'.", "topics list --app none"},
		{cfg, 5, "no such pin", "hw set none OFF"},
		{cfg, 5, "'picloud apps list'", "hw read lamp --app none"},
		{cfg, 5, "no such key", "keys revoke none"},
	} {
		_, errOut, code := do(t, test.cfg, "", strings.Fields(test.args)...)
		if code != test.code || !strings.Contains(errOut, test.says) {
			t.Errorf("%s: ended with %d, want %d with %q: %s", test.args, code, test.code, test.says, errOut)
		}
	}
}

func TestExitCodeOfEveryStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int{400: exitRefused, 401: exitRefused, 403: exitRefused, 404: exitNotFound, 409: exitRefused, 422: exitRefused, 429: exitBusy, 500: exitBusy, 503: exitBusy, 507: exitBusy} {
		if got := exitCode(&refusedError{api.Problem{Status: status}}); got != want {
			t.Errorf("%d: exit code %d, want %d", status, got, want)
		}
	}
}

// What one limit of a topic is set to leaves the others alone.
func TestTopicKeepsTheLimitsThatAreNotGiven(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	ok(t, cfg, "topics", "create", "door", "--max-events", "5", "--max-age", "1h")
	var topic api.Topic
	if err := json.Unmarshal([]byte(ok(t, cfg, "topics", "update", "door", "--max-bytes", "1000", "--json")), &topic); err != nil {
		t.Fatal(err)
	}
	if want := (api.Retention{MaxEvents: 5, MaxAgeSec: 3600, MaxBytes: 1000}); topic.Retention != want {
		t.Errorf("retention %+v, want %+v", topic.Retention, want)
	}
}

// A description cannot write to the operator's terminal.
func TestTablesArePlain(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	ok(t, cfg, "apps", "create", "evil", "--description", "a\x1b[2Jb\tc\nd")
	out := ok(t, cfg, "apps", "list")
	if strings.ContainsAny(out, "\x1b\t") || strings.Count(out, "\n") != 3 {
		t.Errorf("the table is %q", out)
	}
}

// A key is for the app that every other command is about, unless it is said or its scope
// says that it is for all apps.
func TestKeysAreOfTheApp(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	ok(t, cfg, "apps", "create", "shop")
	for args, want := range map[string]string{
		"--scope app:publish":                                "default",
		"--scope app:publish --app shop":                     "shop",
		"--scope app:publish --instance":                     "",
		"--scope instance:read":                              "",
		"--scope instance:read --scope app:write --instance": "",
	} {
		var k api.CreatedKey
		if err := json.Unmarshal([]byte(ok(t, cfg, append(strings.Fields("keys create --json"), strings.Fields(args)...)...)), &k); err != nil {
			t.Fatal(err)
		}
		got := ""
		if k.App != nil {
			got = *k.App
		}
		if got != want {
			t.Errorf("keys create %s: a key of %q, want %q", args, got, want)
		}
	}
	if _, says, code := do(t, cfg, "", "keys", "create", "--scope", "app:read", "--instance", "--app", "shop"); code != exitUsage || !strings.Contains(says, "not both") {
		t.Errorf("both: %d %s", code, says)
	}
}

// AU-2: the key is there to be used by a script.
func TestKeysInJSON(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	var k api.CreatedKey
	if err := json.Unmarshal([]byte(ok(t, cfg, "keys", "create", "--scope", "app:read", "--app", "default", "--ttl", "1h", "--json")), &k); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(k.Text, "pck_"+k.ID+"_") || k.ExpiresAt.IsZero() {
		t.Errorf("created %+v", k.Key)
	}
	_, errOut, code := do(t, cfg, "", "apps", "create", "other", "--key", k.Text) // the key wins over the socket
	if code != exitRefused {
		t.Errorf("a reader created an app: %d %s", code, errOut)
	}
	ok(t, cfg, "keys", "revoke", k.ID)
	if _, _, code := do(t, cfg, "", "apps", "list", "--key", k.Text); code != exitRefused {
		t.Errorf("a revoked key ended with %d", code)
	}
}

// OP-6: what was backed up is there after a restore; what is cut off never is
// taken for a backup.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	ok(t, cfg, "publish", "door", `{"open":true}`)
	file := filepath.Join(t.TempDir(), "b.tgz")
	ok(t, cfg, "backup", file)
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, errOut, code := do(t, cfg, "", "restore", file); code == 0 {
		t.Errorf("restored over a running node: %s", errOut)
	}
	again := cfg
	again.Data = filepath.Join(filepath.Dir(cfg.Data), "again")
	ok(t, again, "restore", file)
	t.Cleanup(runNode(t, again))
	if out := ok(t, again, "events", "door"); !strings.Contains(out, `{"open":true}`) {
		t.Errorf("after the restore: %s", out)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &cli{out: &output{w: io.Discard}, err: io.Discard}
	cut := filepath.Join(t.TempDir(), "cut.tgz")
	if err := c.keepBackup(cut, bytes.NewReader(whole[:len(whole)/2])); err == nil {
		t.Error("half a backup was taken for a whole one")
	}
	if _, err := os.Stat(cut); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a backup is there: %v", err)
	}
}

func TestReachable(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		"0.0.0.0:7420": "127.0.0.1:7420", ":7420": "127.0.0.1:7420", "[::]:1": "127.0.0.1:1",
		"10.0.0.2:80": "10.0.0.2:80", "pi.local:80": "pi.local:80", "": "", "nonsense": "",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("reachable(%q) = %q, want %q", listen, got, want)
		}
	}
}

// failing is a disk that is full.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAFullDiskBehindTheOutputIsAFault(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	var e bytes.Buffer
	if code := run([]string{"--data", cfg.Data, "apps", "list"}, nil, failing{}, &e); code != exitError || !strings.Contains(e.String(), "no space") {
		t.Errorf("ended with %d: %s", code, e.String())
	}
}

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// The node names the archive, but never where it goes.
func TestProposedName(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		`attachment; filename="picloud-pi-20260101T000000Z.tar.gz"`: "picloud-pi-20260101T000000Z.tar.gz",
		`attachment; filename="../../etc/cron.d/x"`:                 "x",
		`attachment; filename="/"`:                                  "picloud.tar.gz",
		`attachment`:                                                "picloud.tar.gz",
		``:                                                          "picloud.tar.gz",
	} {
		res := &http.Response{Header: http.Header{"Content-Disposition": {header}}}
		if got := proposedName(res); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	m := &meter{r: strings.NewReader(strings.Repeat("x", 3<<20)), w: &out, what: "read", size: 6 << 20}
	if _, err := io.Copy(io.Discard, m); err != nil {
		t.Fatal(err)
	}
	if want := "\rread [###############...............]  50 % of 6.0 MiB \n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("%q, want it to end with %q", out.String(), want)
	}
}

// OP-1: every command and every setting is in a man page.
func TestManPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ok(t, daemon.Config{}, "man", dir)
	for _, name := range []string{"picloud.1", "picloud-backup.1", "picloud-topics-create.1"} {
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Contains(page, []byte(".SH SYNOPSIS")) {
			t.Errorf("%s: %v\n%s", name, err, page)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "picloud.toml.5"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(page), `\`, "")
	for i := range daemon.Settings {
		for _, word := range []string{daemon.Settings[i].Key, daemon.Settings[i].Env} {
			if !strings.Contains(text, word) {
				t.Errorf("picloud.toml.5 lacks %s", word)
			}
		}
	}
}
