package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/picloud/picloud/api"
)

// KV-1, OP-1: keys from the command line.
func TestKeyValueCommands(t *testing.T) {
	t.Parallel()
	cfg := startNode(t)
	ok(t, cfg, "kv", "set", "lamp/1", `{"on": true}`)
	ok(t, cfg, "kv", "set", "lamp/2", "two words", "--ttl", "1h")
	if _, errOut, code := do(t, cfg, "\x00\xff", "kv", "set", "--bytes", "raw"); code != 0 {
		t.Fatal(errOut)
	}
	for key, want := range map[string]string{"lamp/1": "{\"on\":true}\n", "lamp/2": "\"two words\"\n", "raw": "\x00\xff"} {
		if got := ok(t, cfg, "kv", "get", key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if got := ok(t, cfg, "kv", "increment", "n", "41"); got != "41\n" {
		t.Errorf("increment gives %q", got)
	}
	if got := ok(t, cfg, "kv", "increment", "n", "--", "-1"); got != "40\n" {
		t.Errorf("decrement gives %q", got)
	}
	var c api.Changed
	if err := json.Unmarshal([]byte(ok(t, cfg, "kv", "set", "lamp/1", "1", "--json")), &c); err != nil || c.Version == 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, args := range [][]string{{"--create"}, {"--version", "1"}} {
		if _, errOut, code := do(t, cfg, "", append([]string{"kv", "set", "lamp/1", "2"}, args...)...); code != exitRefused || !strings.Contains(errOut, "version") {
			t.Errorf("%v: %d %s", args, code, errOut)
		}
	}
	out := ok(t, cfg, "kv", "list", "lamp/")
	if strings.Count(out, "\n") != 3 || !strings.Contains(out, `"two words"`) || !strings.HasPrefix(out, "KEY") {
		t.Errorf("list:\n%s", out)
	}
	if out := ok(t, cfg, "kv", "list", "--limit", "2", "--json"); strings.Count(out, "\n") != 2 {
		t.Errorf("list of 2:\n%s", out)
	}
	ok(t, cfg, "kv", "delete", "lamp/1")
	if _, _, code := do(t, cfg, "", "kv", "get", "lamp/1"); code != exitNotFound {
		t.Errorf("a key that is gone: %d", code)
	}
	for _, args := range [][]string{{"kv", "set", "k", "--create", "--version", "3"}, {"kv", "increment", "k", "x"}, {"kv", "list", "--limit", "0"}, {"kv", "set", "k", "1", "--ttl", "1ms"}} {
		if _, _, code := do(t, cfg, "", args...); code != 2 {
			t.Errorf("%v: %d", args, code)
		}
	}
}
