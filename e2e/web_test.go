//go:build !arm

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// CL-6, CL-7: the pages of examples/web, plain, with React and with Svelte, as their README puts them on a node, in a
// browser on plain HTTP: they show the present values and each change, their button rings, they come back when the node does, and they
// leave no stream. 32-bit boards have no Node.js to build them with.
func TestWebExamples(t *testing.T) {
	t.Parallel()
	n := newNode(t, "PICLOUD_HW_DRIVER=sim", "PICLOUD_HTTP_ALLOWED_HOSTS=pi.lan")
	board := filepath.Join(n.home, "picloud.toml")
	if err := os.WriteFile(board, []byte("[hw.outputs.heater]\nline = \"GPIO5\"\napp = \"thermostat\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.args = append(n.args, "--config", board)
	n.start()
	for _, app := range []string{"doorbell", "thermostat", "web"} {
		n.cli("apply", "../examples/"+app)
	}
	built := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "../scripts/client", "examples", built).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.CopyFS(filepath.Join(built, "plain"), os.DirFS("../examples/web/plain")); err != nil {
		t.Fatal(err)
	}
	err := fs.WalkDir(os.DirFS(built), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			n.cli("files", "--app", "web", "put", filepath.Join(built, path), "site/"+path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	n.cli("publish", "--app", "thermostat", "room", `{"celsius":19}`)
	until(t, "it heats", func() bool { return strings.Contains(n.cli("events", "--app", "thermostat", "heating"), `"on":true`) })

	ctx, origin := lanBrowser(t, n, 3*time.Minute)
	pages := map[string]*clientTab{}
	for _, name := range []string{"plain", "react", "svelte"} {
		pages[name] = newTab(ctx, t, origin+"/apps/web/"+name+"/")
	}
	// shows waits until each page shows the text of an element.
	shows := func(what, element, text string) {
		t.Helper()
		for name, page := range pages {
			var shown string
			until(t, fmt.Sprintf("%s: the page %s shows %q", what, name, text), func() bool {
				var err error
				if shown, err = page.evaluate(`document.querySelector("` + element + `")?.textContent ?? document.body.innerText`); err != nil {
					t.Fatalf("%s: %s: %v", what, name, err)
				}
				return shown == text
			})
		}
	}
	shows("at first", "#heating b", "on")
	if origin, err := pages["plain"].evaluate("origin"); err != nil || origin != "null" {
		t.Errorf("the page has the origin %s of the node: %v", origin, err)
	}
	visitors := 0
	for _, page := range pages {
		if _, err := page.evaluate(`document.querySelector("#bell button").click() ?? ""`); err != nil {
			t.Fatal(err)
		}
		visitors++
		shows("after a press", "#bell b", fmt.Sprint(visitors))
		n.cli("kv", "--app", "doorbell", "delete", "ringing") // as after three seconds
	}
	n.kill()
	n.start()
	for _, celsius := range []string{"19", "22"} { // the board has begun anew, and does not heat
		n.cli("publish", "--app", "thermostat", "room", `{"celsius":`+celsius+`}`)
	}
	shows("after kill -9 of the node", "#heating b", "off")
	for _, page := range pages {
		page.close()
	}
	until(t, "the streams to end", func() bool { return n.subscribers() == 0 })
}
