package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// OP-1: a day of an operator, with every command.
func TestOperatorsDay(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	contains := func(text, want string) {
		t.Helper()
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	contains(n.cli("status"), "status")
	contains(n.cli("version"), "picloud")
	n.cli("apps", "create", "shop", "--description", "a shop")
	contains(n.cli("apps", "list"), "shop")
	n.cli("topics", "create", "sales/today", "--app", "shop", "--external", "--auth", "public")
	contains(n.cli("topics", "list", "--app", "shop"), "sales/today")
	n.cli("topics", "external", "sales/today", "off", "--app", "shop")
	contains(n.cli("topics", "show", "sales/today", "--app", "shop"), "internal")
	id := strings.TrimSpace(n.cli("publish", "sales/today", `{"n":1}`, "--app", "shop"))
	n.cli("publish", "sales/today", "two words", "--app", "shop")
	out, errs, code := n.run("1\n{\"a\":2}\nthree\n", "publish", "--lines", "sales/today", "--app", "shop")
	if code != 0 {
		t.Errorf("publish --lines: %d %s%s", code, out, errs)
	}
	contains(n.cli("events", "sales/today", "--app", "shop"), `"two words"`)
	got := n.cli("subscribe", "sales/today", "--app", "shop", "--since", id, "-n", "4", "--json")
	if lines := strings.Split(strings.TrimSpace(got), "\n"); len(lines) != 4 || !json.Valid([]byte(lines[3])) || !strings.Contains(lines[3], `"three"`) {
		t.Errorf("subscribe: %s", got)
	}
	token := strings.TrimSpace(n.cli("tokens", "mint", "sales/today", "--app", "shop"))
	if strings.Count(token, ".") != 2 {
		t.Errorf("token %q", token)
	}
	n.cli("tokens", "rotate", "--app", "shop", "--overlap", "0s")
	key := n.key("shop", "app:publish")
	if _, errs, code = n.run("", "publish", "sales/today", "5", "--app", "shop", "--url", n.url, "--key", key); code != 0 {
		t.Errorf("publish over HTTP: %d %s", code, errs)
	}
	contains(n.cli("keys", "list"), "app:publish")

	// Refusals have their exit codes and say what to do.
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{2, "usage", []string{"publish"}},
		{2, "unknown flag", []string{"status", "--colour"}},
		{5, "no such app", []string{"topics", "list", "--app", "none"}},
		{4, "reserved", []string{"publish", "a*", "1"}},
		{4, "exists", []string{"apps", "create", "shop"}},
		{4, "Authentication", []string{"status", "--url", n.url}},
		{4, "scope", []string{"topics", "list", "--app", "shop", "--url", n.url, "--key", key}},
		{3, "doctor", []string{"status", "--socket", "/nowhere/s"}},
	} {
		_, errs, code := n.run("", c.args...)
		if code != c.code || !strings.Contains(strings.ToLower(errs), strings.ToLower(c.want)) {
			t.Errorf("%v: exit code %d, want %d\n%s", c.args, code, c.code, errs)
		}
	}
	contains(n.cli("config", "show"), "realtime.heartbeat_sec")
	man := filepath.Join(n.home, "man")
	n.cli("man", man)
	if _, err := os.Stat(filepath.Join(man, "picloud-publish.1")); err != nil {
		t.Error(err)
	}
	contains(n.cli("completion", "bash"), "picloud")

	// OP-6: back up, lose the card, restore.
	file := filepath.Join(n.home, "backup.tar.gz")
	contains(n.cli("backup", file), "whole")
	want := n.cli("events", "sales/today", "--app", "shop", "--json")
	if code := n.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, _, code := n.run("", "restore", file); code == 0 {
		t.Error("restored over a node")
	}
	if err := os.RemoveAll(n.data); err != nil {
		t.Fatal(err)
	}
	n.cli("restore", file)
	n.start()
	strip := func(events string) (data []string) {
		for line := range strings.SplitSeq(strings.TrimSpace(events), "\n") {
			var e event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			data = append(data, e.ID[strings.Index(e.ID, "."):]+string(e.Data)+e.PublishedAt)
		}
		return data
	}
	if got := n.cli("events", "sales/today", "--app", "shop", "--json"); strings.Join(strip(got), "\n") != strings.Join(strip(want), "\n") {
		t.Errorf("after restore:\n%s\nbefore:\n%s", got, want)
	}
	n.cli("apps", "delete", "shop")
	if _, _, code := n.run("", "apps", "show", "shop"); code != 5 {
		t.Errorf("the deleted app: exit code %d", code)
	}
}

// curl is a client that nobody here wrote.
func TestCurl(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.cli("topics", "create", "door", "--external", "--auth", "public")
	n.cli("publish", "door", `{"open":true}`)
	out, err := exec.CommandContext(t.Context(), "curl", "-sN", "--max-time", "2", "-H", "Accept: text/event-stream",
		n.url+"/v1/apps/default/topics/door/events?since=all").CombinedOutput()
	if !strings.Contains(string(out), "event: hello\n") || !strings.Contains(string(out), `"data":{"open":true}`) {
		t.Errorf("%v: %s", err, out)
	}
}

// PB-8: a file moved into the spool is published and archived, a bad one is
// rejected with the reason.
func TestSpool(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	key := n.key("", "instance:admin")
	dir := filepath.Join(n.data, "spool", "default", "dropped")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"good.ndjson": "1\n2\n", "bad.json": "{"} {
		if err := os.WriteFile(filepath.Join(dir, "."+name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "."+name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	there := func(path string) bool { _, err := os.Stat(filepath.Join(dir, path)); return err == nil }
	until(t, "the good file to be archived", func() bool { return there("archive/good.ndjson") })
	until(t, "the bad file to be rejected", func() bool { return there("rejected/bad.json.reason") })
	if got := n.history(key, "default", "dropped"); len(got) != 2 || got[0].Source != "spool" {
		t.Errorf("history %+v", got)
	}
}

// A node whose log nobody reads any more, since the program behind its pipe has ended,
// goes on, and stops in order.
func TestLogPipeThatCloses(t *testing.T) {
	t.Parallel()
	n := newNode(t, "PICLOUD_LOG_LEVEL=debug") // a line for each request
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	n.output = w
	n.start()
	key := n.key("", "instance:admin")
	if err := errors.Join(r.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		n.do(201, nil, "POST", "/v1/apps/default/topics/t/events", key, fmt.Sprint(i))
	}
	if code := n.stop(); code != 0 {
		t.Errorf("it ended with code %d", code)
	}
}
