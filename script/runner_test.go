package script_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/script"
)

// TestMain lets the test's binary be the worker.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case script.WorkerArg:
			os.Exit(script.Work())
		case probeArg:
			os.Exit(probe())
		}
	}
	os.Exit(m.Run())
}

// shelf is a Host with scripts by "app/name" and a SDK that answers what a test
// says.
type shelf struct {
	mu      sync.Mutex
	scripts map[string]string
	call    func(ctx context.Context, c picloud.ScriptCall) (json.RawMessage, error)
}

func (*shelf) Incarnation(string) uint64 { return 0 }

func (s *shelf) Module(app, name string) (picloud.Script, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src, ok := s.scripts[app+"/"+name]
	if !ok {
		return picloud.Script{}, picloud.ErrScriptNotFound
	}
	return picloud.Script{Source: src, Version: 7}, nil
}

func (s *shelf) Call(ctx context.Context, c picloud.ScriptCall) (json.RawMessage, error) {
	if s.call == nil {
		return nil, picloud.ErrForbidden
	}
	return s.call(ctx, c)
}

// boardWorker is the variable that names the worker of a board, which runs emulated,
// slowly, and without a filter of the kernel (scripts/boards).
const boardWorker = "PICLOUD_TEST_WORKER"

// patient are limits for runs that are not about time: a machine that is busy with
// something else, and the race detector, take theirs.
var patient = script.Limits{Time: time.Minute, Total: 2 * time.Minute}

// newRunner runs a runner, with a patience of its own if cfg names none.
func newRunner(tb testing.TB, cfg script.Config) *script.Runner {
	tb.Helper()
	if cfg.Limits == (script.Limits{}) {
		cfg.Limits, cfg.Patience = patient, cmp.Or(cfg.Patience, 5*time.Minute)
	}
	if exe := os.Getenv(boardWorker); exe != "" && cfg.Executable == "" {
		cfg.Executable, cfg.NoSandbox = exe, true
	}
	r := script.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return r
}

// once runs source as the default handler of app "a".
func once(t *testing.T, h *shelf, source string, input string) (script.Result, error) {
	t.Helper()
	if h.scripts == nil {
		h.scripts = map[string]string{}
	}
	h.scripts["a/main"] = source
	r := newRunner(t, script.Config{Host: h})
	return r.Do(t.Context(), script.Job{App: "a", Script: "main", Input: json.RawMessage(input)})
}

func TestHandlerRuns(t *testing.T) {
	t.Parallel()
	h := &shelf{scripts: map[string]string{"a/lib": `export const twice = (x) => 2 * x;`}}
	res, err := once(t, h, `
import { twice } from "app:lib";
import { log } from "picloud";
export default async function (input, ctx) {
  console.log("got", input, ctx.app);
  log.warn({ a: [1] });
  return { n: twice(input.n), script: ctx.script, version: ctx.version };
}`, `{"n":21}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(res.Output), `{"n":42,"script":"main","version":7}`; got != want {
		t.Errorf("the output is %s, want %s", got, want)
	}
	if len(res.Lines) != 2 || res.Lines[0].Text != `got {"n":21} a` || res.Lines[1].Level != "warn" || res.Lines[1].Text != `{"a":[1]}` {
		t.Errorf("the lines are %+v", res.Lines)
	}
}

func TestCallsReachTheHost(t *testing.T) {
	t.Parallel()
	h := &shelf{call: func(_ context.Context, c picloud.ScriptCall) (json.RawMessage, error) {
		if c.App != "a" || c.Script != "main" {
			return nil, fmt.Errorf("called by %+v", c)
		}
		if string(c.Args[0]) == `"panic"` {
			panic("the node is not to end of this")
		}
		if string(c.Args[0]) == `"no"` {
			return nil, picloud.ErrKVNotFound
		}
		return json.RawMessage(fmt.Sprintf(`{"key":%s,"value":{"n":%d},"version":3,"updated_at":"2026-01-02T03:04:05Z"}`, c.Args[0], len(c.Args[0]))), nil
	}}
	res, err := once(t, h, `
import { kv, NotFoundError } from "picloud";
export default async function () {
  const [a, b] = await Promise.all([kv.get("x"), kv.entry("yy")]);
  let caught = "";
  try { await kv.get("no"); } catch (e) { caught = (e instanceof NotFoundError) + " " + e.type + " " + e.call; }
  try { await kv.get("panic"); } catch (e) { caught += " " + e.type; }
  kv.set("late", 1);
  return [a.n, b.value.n, b.version, b.updatedAt.getTime(), caught];
}`, "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(res.Output), `[3,4,3,1767323045000,"true kv-not-found kv.get internal"]`; got != want {
		t.Errorf("the output is %s, want %s", got, want)
	}
	if res.Calls != 5 {
		t.Errorf("%d calls were made, want 5: one that nobody waits for is made all the same", res.Calls)
	}
}

// TestFaultsHaveTheirReason covers what an author gets to see.
func TestFaultsHaveTheirReason(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		source string
		reason script.Reason
		says   string
	}{
		"thrown":         {"export default function f() {\n  throw new TypeError('no such lamp');\n}", script.ReasonThrown, "TypeError: no such lamp"},
		"thrown text":    {`export default () => { throw "plain" }`, script.ReasonThrown, "thrown: plain"},
		"thrown null":    {`export default () => { throw {} }`, script.ReasonThrown, "thrown: {}"},
		"rejected":       {`export default async () => { await null; null.x }`, script.ReasonThrown, "TypeError"},
		"syntax":         {"export default function () {\n  let = ;\n}", script.ReasonSyntax, "app:main"},
		"no such module": {`import "app:other"; export default () => 1`, script.ReasonThrown, `cannot import "app:other"`},
		"foreign module": {`import "fs"; export default () => 1`, script.ReasonThrown, `cannot import "fs"`},
		"no handler":     {`export const x = 1, handler = () => 2`, script.ReasonMissing, "it exports handler"},
		"cyclic result":  {`export default () => { const a = {}; a.a = a; return a }`, script.ReasonOutput, "circular"},
		"never settles":  {`export default () => new Promise(() => {})`, script.ReasonStalled, "nothing will ever settle"},
		"large result":   {`export default () => "x".repeat(2e6)`, script.ReasonOutput, "the limit is"},
		"top level":      {`throw new Error("at the top")`, script.ReasonThrown, "at the top"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := once(t, &shelf{}, tt.source, "")
			var e *script.Error
			if !errors.As(err, &e) {
				t.Fatalf("the error is %v", err)
			}
			if e.Reason != tt.reason || !strings.Contains(e.Error(), tt.says) {
				t.Errorf("the error is %q (%s), want %q (%s); stack %s", e, e.Reason, tt.says, tt.reason, e.Stack)
			}
			if name == "thrown" && !strings.Contains(e.Stack, "app:main:2:") {
				t.Errorf("the stack does not name line 2: %s", e.Stack)
			}
		})
	}
}

func TestNothingIsLeftOfARun(t *testing.T) {
	t.Parallel()
	h := &shelf{scripts: map[string]string{"a/main": `export default () => { Array.prototype.evil = 1; return (globalThis.n = (globalThis.n ?? 0) + 1) }`}}
	r := newRunner(t, script.Config{Host: h})
	for range 3 {
		res, err := r.Do(t.Context(), script.Job{App: "a", Script: "main"})
		if err != nil || string(res.Output) != "1" {
			t.Fatalf("the run returned %s, %v", res.Output, err)
		}
	}
	if idle, running := r.Workers(); idle != 1 || running != 0 {
		t.Errorf("there are %d idle workers and %d runs, want one worker", idle, running)
	}
}

// TestWaitingDoesNotCount has the clock of a run stand still while the host is
// busy for it.
func TestWaitingDoesNotCount(t *testing.T) {
	t.Parallel()
	h := &shelf{scripts: map[string]string{"a/main": `import { time } from "picloud"; export default async () => { await time.sleep(1); return 1 }`}}
	h.call = func(ctx context.Context, _ picloud.ScriptCall) (json.RawMessage, error) {
		<-time.After(3 * time.Second)
		return json.RawMessage("null"), nil
	}
	r := newRunner(t, script.Config{Host: h})
	job := script.Job{App: "a", Script: "main", Limits: script.Limits{Time: 2 * time.Second}}
	if _, err := r.Do(t.Context(), job); err != nil {
		t.Errorf("the run ended with %v", err)
	}
	job.Limits.Total = 200 * time.Millisecond
	var e *script.Error
	if _, err := r.Do(t.Context(), job); !errors.As(err, &e) || e.Reason != script.ReasonTime {
		t.Errorf("the run ended with %v, want its total to be over", err)
	}
}

// TestBusyMachineTakesNoTime runs a script beside programs that leave it a small part
// of the processor: it gets its time nevertheless.
func TestBusyMachineTakesNoTime(t *testing.T) {
	h := &shelf{scripts: map[string]string{"a/main": `export default () => { let x = 0; for (let i = 0; i < 3e5; i++) x = (x * 31 + i) % 1000003; return x }`}}
	r := newRunner(t, script.Config{Host: h})
	job := script.Job{App: "a", Script: "main"}
	alone := time.Hour
	for range 8 { // something else may be going on, too
		res, err := r.Do(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		alone = min(alone, res.Duration)
	}
	for range 10 * runtime.NumCPU() {
		busy := exec.CommandContext(t.Context(), "nice", "-n", "5", "sh", "-c", "while :; do :; done") // as nice as a worker
		if err := busy.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = busy.Wait() }() // it was killed
		defer func() { _ = busy.Process.Kill() }()
	}
	job.Limits.Time = 2*alone + 50*time.Millisecond
	res, err := r.Do(t.Context(), job)
	if err != nil {
		t.Errorf("it took %v of %v, and %v alone: %v", res.Duration, job.Limits.Time, alone, err)
	}
	t.Logf("%v alone, %v beside others; limit %v", alone, res.Duration, job.Limits.Time)
	if res.Duration < job.Limits.Time {
		t.Error("the machine was not busy: this run proves nothing")
	}
}

// TestStopEndsRuns stops a runner under a run that waits for the host, and under
// one that waits for its turn.
func TestStopEndsRuns(t *testing.T) {
	t.Parallel()
	called := make(chan struct{}, 1)
	h := &shelf{scripts: map[string]string{"a/main": `import { time } from "picloud"; export default () => time.sleep(1)`}}
	h.call = func(ctx context.Context, _ picloud.ScriptCall) (json.RawMessage, error) {
		called <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r := script.New(script.Config{Host: h, Workers: 1})
	ctx, cancel := context.WithCancel(t.Context())
	stopped, ends := make(chan error, 1), make(chan error, 2)
	go func() { stopped <- r.Run(ctx) }()
	for range 2 {
		go func() {
			_, err := r.Do(t.Context(), script.Job{App: "a", Script: "main", Limits: script.Limits{Total: time.Hour}})
			ends <- err
		}()
	}
	<-called
	cancel()
	for range 2 {
		var e *script.Error
		if err := <-ends; !errors.As(err, &e) || !e.Unavailable() {
			t.Errorf("the run ended with %v", err)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if idle, running := r.Workers(); idle > 0 {
		t.Errorf("%d idle workers and %d runs are left", idle, running)
	}
}

// TestContext gives a handler what it may know besides, which cannot pass for what
// the runner knows.
func TestContext(t *testing.T) {
	t.Parallel()
	h := &shelf{scripts: map[string]string{"a/main": `import { ctx } from "picloud"; export default (input, c) => [c, ctx]`}}
	r := newRunner(t, script.Config{Host: h})
	for given, want := range map[string]string{
		``:                         `{"app":"a","script":"main","version":7}`,
		` { } `:                    `{"app":"a","script":"main","version":7}`,
		`{"x":1,"script":"other"}`: `{"x":1,"script":"main","app":"a","version":7}`,
	} {
		res, err := r.Do(t.Context(), script.Job{App: "a", Script: "main", Context: json.RawMessage(given)})
		if err != nil || string(res.Output) != "["+want+","+want+"]" {
			t.Errorf("%s: %s, %v, want twice %s", given, res.Output, err, want)
		}
	}
	if _, err := r.Do(t.Context(), script.Job{App: "a", Script: "main", Context: json.RawMessage(`[1]`)}); err == nil {
		t.Error("a context that is no object was taken")
	}
}

// TestCheck reads scripts without running them: also one that imports what is not
// there yet.
func TestCheck(t *testing.T) {
	t.Parallel()
	r := newRunner(t, script.Config{Host: &shelf{}, Record: func(picloud.Run) string {
		t.Error("a check was recorded as a run")
		return ""
	}})
	if err := r.Check(t.Context(), "a", "fine", `import { x } from "app:later"; throw new Error(x); export default () => 1`); err != nil {
		t.Error(err)
	}
	err := r.Check(t.Context(), "a", "broken", "export default () => 1;\n\nexport function x( { }")
	var e *script.Error
	if !errors.As(err, &e) || e.Reason != script.ReasonSyntax || !strings.Contains(e.Message, "app:broken:3:") {
		t.Errorf("a script that cannot be read: %v", err)
	}
}
