package script_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picloud/picloud/script"
)

// TestForgedFrames has workers that were taken over by whoever wrote the script:
// each ends as a crash of its run, and the next run is served by another worker.
func TestForgedFrames(t *testing.T) {
	t.Parallel()
	const ready = `printf '\000\000\000\000\000' >&3; `
	for name, does := range map[string]string{
		"dies at once":       ``,
		"dies when asked":    ready,
		"a huge frame":       ready + `printf '\377\377\377\377\007' >&3; exec cat <&3`,
		"half a frame":       ready + `printf '\010\000\000\000\007{' >&3`,
		"kind unknown":       ready + `printf '\002\000\000\000\143{}' >&3; exec cat <&3`,
		"kind of the daemon": ready + `printf '\002\000\000\000\001{}' >&3; exec cat <&3`,
		"not JSON":           ready + `printf '\002\000\000\000\007}{' >&3; exec cat <&3`,
		"too many calls":     ready + frameOf(5, "["+strings.Repeat(`{"id":1,"module":"kv","method":"get"},`, 16)+`{"id":1}]`) + `; exec cat <&3`,
		"too much in a call": ready + frameOf(5, `[{"id":1,"module":"kv","method":"get","args":["`+strings.Repeat("x", 3<<20)+`"]}]`) + `; exec cat <&3`,
		"waits for nothing":  ready + `printf '\002\000\000\000\005[]' >&3; exec cat <&3`,
		"a line of no level": ready + `printf '\002\000\000\000\004{}' >&3; exec cat <&3`,
		"another type":       ready + `printf '\002\000\000\000\002{}' >&3; exec cat <&3`,
		"too long a result":  ready + `printf '\021\000\000\000\007{"output":123456}' >&3; exec cat <&3`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			exe := filepath.Join(t.TempDir(), "worker")
			if err := os.WriteFile(exe, []byte("#!/bin/sh\n"+does+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			h := &shelf{scripts: map[string]string{"a/main": `export default () => 1`}}
			r := newRunner(t, script.Config{Host: h, Executable: exe})
			for range 2 {
				_, err := r.Do(t.Context(), script.Job{App: "a", Script: "main", Limits: script.Limits{Output: 4}})
				var e *script.Error
				if !errors.As(err, &e) || (e.Reason != script.ReasonCrash && e.Reason != script.ReasonNoWorker) {
					t.Errorf("the run ended with %v", err)
				}
			}
			if idle, running := r.Workers(); idle+running > 0 {
				t.Errorf("%d idle workers, %d runs are left", idle, running)
			}
		})
	}
}

// frameOf is a command of the shell that sends a frame.
func frameOf(kind byte, body string) string {
	var head strings.Builder
	for _, b := range append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), kind) { // #nosec G115 -- short
		fmt.Fprintf(&head, `\%03o`, b)
	}
	return "printf '" + head.String() + "' >&3; cat <<'END' | tr -d '\\n' >&3\n" + body + "\nEND\n:"
}

// TestNoWayToTheHost looks for what a script might use to speak to the daemon
// other than by the SDK.
func TestNoWayToTheHost(t *testing.T) {
	t.Parallel()
	res, err := once(t, &shelf{}, `
import * as sdk from "picloud";
export default () => {
  const seen = [];
  for (const n of Object.getOwnPropertyNames(globalThis)) if (n.startsWith("_")) seen.push(n);
  for (const n of ["os", "std", "bjson", "scriptArgs", "print", "require", "process", "fetch", "performance", "navigator"]) if (n in globalThis) seen.push(n);
  return [seen, Object.isFrozen(sdk.kv), Object.isFrozen(console)];
}`, "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(res.Output), `[[],true,true]`; got != want {
		t.Errorf("a script sees %s, want %s", got, want)
	}
}
