package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picloud/picloud/api"
)

// HW-2, AU-1: the source device:NAME is that of the board alone. Whichever way an event takes in, and
// whatever its publisher claims to be, it has the source of the publisher, or is refused.
func TestNoneButTheBoardIsADevice(t *testing.T) {
	t.Parallel()
	n := withPins(t, "[hw.inputs.door]\nline = \"GPIO1\"\ntopic = \"door\"\n")
	const claim = "device:door"
	const source = `
import { pubsub } from "picloud";
const says = (way) => ({ way, source: "device:door", initial: true });
export default (event) => event.data.way === undefined && pubsub.publish("door", says("trigger"));
export const run = () => pubsub.publish("door", says("run"), { idempotencyKey: "device:door:run" });
export const option = () => pubsub.publish("door", says("option"), { source: "device:door" });
export const endpoint = () => pubsub.publish("door", says("endpoint"));
`
	for _, name := range []string{"device", "door"} {
		if _, errs, code := n.run(source, "scripts", "push", "--name", name, "-"); code != 0 {
			t.Fatal(errs)
		}
	}
	n.cli("triggers", "set", "door", "--kind", "pubsub", "--topic", "door", "--script", "door")
	n.cli("endpoints", "set", "device", "--method", "POST", "--path", "/device", "--script", "device", "--export", "endpoint", "--auth", "public")
	n.cli("topics", "create", "public", "--external")
	var key api.CreatedKey
	n.do(201, &key, "POST", "/v1/keys", n.key("", "instance:admin"), `{"app":"default","label":"device:door","scopes":["app:publish","app:read"]}`)
	admin := n.key("", "instance:admin")
	token := strings.TrimSpace(n.cli("tokens", "mint", "public"))

	const one, many = "/v1/apps/default/topics/door/events", "/v1/apps/default/events"
	data := func(way string) string { return `{"way":"` + way + `","source":"device:door","initial":true}` }
	headers := []string{"Source", claim, "X-Source", claim, "From", claim, "User-Agent", claim, "Idempotency-Key", claim, "X-Forwarded-User", claim}
	posts := func(status int, path, key, body string) func() {
		return func() { n.do(status, nil, "POST", path, key, body, headers...) }
	}
	refused := func(stdin string, args ...string) func() {
		return func() {
			if out, errs, code := n.run(stdin, args...); code == 0 {
				t.Errorf("%v is not refused: %s%s", args, out, errs)
			}
		}
	}
	drop := func(name, text string) func() {
		return func() {
			dir := filepath.Join(n.data, "spool", "default", "door")
			hidden := filepath.Join(dir, "."+name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(hidden, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(hidden, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			until(t, name+" is archived", func() bool { _, err := os.Stat(filepath.Join(dir, "archive", name)); return err == nil })
		}
	}
	for _, c := range []struct {
		way    string // in the data of its event
		source string // of the event; empty: it is refused
		try    func()
	}{
		{"key", "key:" + key.ID, posts(201, one, key.Text, data("key"))},
		{"batch", "key:" + key.ID, func() {
			n.do(201, nil, "POST", many, key.Text, `[{"topic":"door","data":`+data("batch")+`}]`)
		}},
		{"batch with a source", "", posts(400, many, key.Text, `[{"topic":"door","source":"device:door","data":`+data("batch with a source")+`}]`)},
		{"query", "", posts(400, one+"?source="+claim, key.Text, data("query"))},
		{"operator's key", "key:" + strings.Split(admin, "_")[1], func() { n.do(201, nil, "POST", one, admin, data("operator's key")) }},
		{"subscriber's token", "", posts(401, one, token, data("subscriber's token"))},
		{"no key", "", posts(401, one, "", data("no key"))},
		{"name as the key", "", posts(401, one, claim, data("name as the key"))},
		{"socket", "local", func() { n.cli("publish", "door", data("socket"), "--idempotency-key", claim+":socket") }},
		{"lines", "local", func() { _, _, _ = n.run(data("lines")+"\n", "publish", "--lines", "door") }},
		{"file", "spool", drop(claim+".json", data("file"))},
		{"lines of a file", "spool", drop(claim+".ndjson", data("lines of a file")+"\n")},
		{"run", "script:device", func() { n.cli("scripts", "run", "device", "--export", "run") }},
		{"option", "", refused("", "scripts", "run", "device", "--export", "option")},
		{"script of that name", "", refused(source, "scripts", "push", "--name", claim, "-")},
		{"endpoint", "script:device", func() { n.do(200, nil, "POST", "/apps/default/device", "", data("endpoint"), headers...) }},
		{"trigger", "script:door", func() { n.cli("hw", "sim", "set", "door", "on") }},
		{"press of an input without a right", "", posts(403, "/v1/apps/default/pins/door/press", key.Text, `{"on":true}`)},
	} {
		c.try()
		find := func() (found []string) {
			for _, e := range n.told("door") {
				var d struct{ Way string }
				if json.Unmarshal(e.Data, &d) == nil && d.Way == c.way {
					found = append(found, e.Source)
				}
			}
			return found
		}
		if c.source == "" {
			if found := find(); len(found) > 0 {
				t.Errorf("%s: published as %v", c.way, found)
			}
			continue
		}
		until(t, c.way+" has published", func() bool { return len(find()) > 0 })
		for _, source := range find() {
			if source != c.source {
				t.Errorf("%s: the source is %q, want %q", c.way, source, c.source)
			}
		}
	}
	devices := 0
	for _, e := range n.told("door") {
		if strings.HasPrefix(e.Source, "device:") {
			if devices++; e.Source != claim || !strings.Contains(string(e.Data), `"simulated":true`) {
				t.Errorf("%s: %s", e.Source, e.Data)
			}
		}
	}
	if devices != 2 { // the level at the start, and the edge
		t.Errorf("%d events are of the board", devices)
	}
}
