package script

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"modernc.org/quickjs"

	"github.com/picloud/picloud"
)

//go:embed run.js
var runSource string

//go:embed sdk.js
var sdkSource string

// SDKVersion is the version of the SDK, which rises with its surface (semver).
const SDKVersion = "0.2.0"

// Types declares the SDK for editors, in TypeScript.
//
//go:embed sdk.d.ts
var Types string

// sdkName is how scripts import the SDK, and appScheme how they import one
// another.
const (
	sdkName   = "picloud"
	appScheme = "app:"
)

// compiledName is what the engine calls a module that it has compiled by itself.
const compiledName = "<eval>"

// ours is the JavaScript of ours as the engine executes it: reading its source would
// take as long as everything else in a short run.
var ours = sync.OnceValues(func() (c struct{ run, sdk []byte }, err error) {
	vm, err := quickjs.NewVM()
	if err != nil {
		return c, fmt.Errorf("make an engine: %w", err)
	}
	if c.run, err = vm.Compile(runSource, quickjs.EvalGlobal); err == nil {
		c.sdk, err = vm.Compile(sdkSource, quickjs.EvalModule)
	}
	if err = errors.Join(err, vm.Close()); err != nil {
		return c, fmt.Errorf("compile the SDK: %w", err)
	}
	return c, nil
})

// daemonSide is what an engine asks of the daemon while it has the floor.
type daemonSide interface {
	need(script string) (string, error) // the source of a script
	line(level, text string)
}

// engine runs one job in a QuickJS of its own. It can be made before there is a
// job. It is used by one goroutine.
type engine struct {
	vm     *quickjs.VM
	daemon daemonSide
	job    *jobBody       // nil: none yet
	inside *quickjs.Value // how to get in
	sdk    bool           // the SDK is loaded
	wants  bool           // the job has asked for it
	left   time.Duration  // of the processor's time, for the script itself
	calls  []callBody     // made since the floor was given up last
	size   int            // bytes of their arguments
	open   int            // calls without a reply
	done   *doneBody      // not nil: the run has ended
}

// gcAtFraction is at which part of its memory an engine looks for garbage in circles
// for the first time. The engine's own choice, 256 KiB, is so little that the SDK
// alone makes every run do so.
const gcAtFraction = 8

// newEngine makes an engine that knows run.js, and the SDK when that will be
// wanted. Nothing of any script has run in it.
func newEngine(d daemonSide, sdk bool) (*engine, error) {
	code, err := ours()
	if err != nil {
		return nil, err
	}
	vm, err := quickjs.NewVM()
	if err != nil {
		return nil, fmt.Errorf("make an engine: %w", err)
	}
	e := &engine{vm: vm, daemon: d}
	vm.SetModuleLoader(e.load, e.normalize)
	if err = vm.RegisterHostFunc("__host", e.host); err == nil {
		var inside quickjs.Value
		if inside, err = vm.EvalBytecodeValue(code.run); err == nil {
			e.inside = &inside
		}
	}
	if err == nil && sdk {
		err = e.loadSDK()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make an engine: %w", err), e.close())
	}
	return e, nil
}

func (e *engine) close() error {
	if e.inside != nil {
		e.inside.Free()
	}
	if err := e.vm.Close(); err != nil {
		return fmt.Errorf("close the engine: %w", err)
	}
	return nil
}

// start runs a job until it has ended or waits for replies.
func (e *engine) start(j *jobBody) {
	e.job, e.left = j, j.Limits.Time
	e.vm.SetMemoryLimit(uintptr(j.Limits.Memory))                // #nosec G115 -- positive
	e.vm.SetGCThreshold(uintptr(j.Limits.Memory / gcAtFraction)) // #nosec G115 -- as above
	if j.Check {
		e.check()
		return
	}
	e.segment(func() error {
		return e.enter("start", appScheme+j.Script, j.Export, string(j.Input), string(j.Ctx), j.Limits.Calls)
	})
}

// enter calls what run.js lets in.
func (e *engine) enter(args ...any) error {
	_, err := e.inside.Call(quickjs.UndefinedValue, args...)
	return err //nolint:wrapcheck // an exception, which is classified
}

// loadSDK makes the SDK one of the modules that the engine knows.
func (e *engine) loadSDK() error {
	code, err := ours()
	if err == nil {
		err = e.enter("share")
	}
	if err == nil {
		_, err = e.vm.EvalBytecode(code.sdk)
	}
	e.sdk = err == nil
	return err
}

// check only reads the script.
func (e *engine) check() {
	defer whenOver(ownTime()+e.left, ownTime, e.vm.Interrupt)()
	_, err := e.vm.Compile(e.job.Source, quickjs.EvalModule)
	if err == nil {
		e.done = &doneBody{}
		return
	}
	fault := classify(err, e.job.Limits)
	if fault.Reason == ReasonThrown {
		fault.Reason = ReasonSyntax
	}
	if js, ok := errors.AsType[*quickjs.Error](err); ok {
		if place, ok := strings.CutPrefix(strings.TrimSpace(js.Stack), "at "); ok {
			fault.Message += " (" + strings.ReplaceAll(place, compiledName, appScheme+e.job.Script) + ")"
		}
	}
	e.end(fault)
}

// reply goes on with the answers to calls.
func (e *engine) reply(replies []replyBody) {
	for _, r := range replies {
		e.open--
		e.segment(func() error {
			if r.Error == nil {
				return e.enter("settle", r.ID, string(r.Value))
			}
			fault, err := picloud.EncodeJSON(r.Error)
			if err != nil {
				return err
			}
			return e.enter("settle", r.ID, "", string(fault))
		})
	}
}

// segment runs some of the script, and what follows from it, within the time
// that is left.
func (e *engine) segment(fn func() error) {
	if e.done != nil {
		return
	}
	began := ownTime()
	stop := whenOver(began+e.left, ownTime, e.vm.Interrupt)
	err := fn()
	if err == nil {
		_, err = e.vm.ExecutePendingJobs()
	}
	stop()
	e.left -= ownTime() - began
	switch {
	case e.left <= 0:
		e.end(failf(ReasonTime, "it ran for longer than %v: end the loop, or do less in one run", e.job.Limits.Time))
	case e.done != nil:
	case err != nil:
		e.end(classify(err, e.job.Limits))
	case e.open+len(e.calls) == 0:
		e.end(failf(ReasonStalled, "the handler waits for a promise that nothing will ever settle"))
	}
}

func (e *engine) end(fault *Error) { e.done = &doneBody{Error: fault} }

// give returns the calls that were made, for the daemon.
func (e *engine) give() []callBody {
	list := e.calls
	e.open += len(list)
	e.calls, e.size = nil, 0
	return list
}

// maxCalls bounds the arguments of calls that are made at once.
const maxCalls = 2 << 20

// host is what the SDK calls.
func (e *engine) host(args []any) (any, error) {
	word := func(i int) string {
		if i < len(args) {
			s, _ := args[i].(string)
			return s
		}
		return ""
	}
	if e.done != nil {
		return nil, nil
	}
	switch word(0) {
	case "call":
		if e.size+len(word(4)) > maxCalls {
			return false, nil
		}
		e.size += len(word(4))
		id, _ := args[1].(int)
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(word(4)), &list); err != nil {
			return nil, err //nolint:wrapcheck // a text that JSON.stringify has just made
		}
		e.calls = append(e.calls, callBody{ID: id, Module: word(2), Method: word(3), Args: list})
		return true, nil
	case "line":
		e.daemon.line(word(1), word(2))
	case "done":
		out := word(1)
		if limit := e.job.Limits.Output; len(out) > limit {
			e.end(failf(ReasonOutput, "the result has %d bytes, the limit is %d: keep it in a file or a key, and return where", len(out), limit))
			return nil, nil
		}
		e.done = &doneBody{Output: json.RawMessage(out), Response: word(2) != ""}
	case "output":
		e.end(failf(ReasonOutput, "the result is not JSON: %s", word(1)))
	case "missing":
		e.end(failf(ReasonMissing, "%s", word(1)))
	case "fail":
		e.end(classify(&quickjs.Error{Name: word(1), Message: word(2), Stack: word(3)}, e.job.Limits))
	}
	return nil, nil
}

// normalize turns what an import says into the name of a module.
func (e *engine) normalize(_ *quickjs.VM, _, name string) (string, error) {
	if name == sdkName {
		e.wants = true
		if !e.sdk && !e.job.Check {
			if err := e.loadSDK(); err != nil {
				e.end(classify(err, e.job.Limits))
				return "", err
			}
		}
		return compiledName, nil
	}
	if strings.HasPrefix(name, appScheme) {
		return name, nil
	}
	return "", fmt.Errorf("cannot import %q: import the SDK from %q, or a script of this app as %q", name, sdkName, appScheme+"NAME")
}

func (e *engine) load(_ *quickjs.VM, name string) (string, error) {
	if e.job.Check {
		return "", nil // it need not be there yet
	}
	script := strings.TrimPrefix(name, appScheme)
	if script == e.job.Script {
		return e.job.Source, nil
	}
	return e.daemon.need(script)
}

// own is a stack without the frames of the SDK, which nobody can do anything
// about.
func own(stack string) string {
	var b strings.Builder
	for line := range strings.Lines(stack) {
		if !strings.Contains(line, compiledName) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// Words by which the engine names what it cannot give.
const (
	wordMemory    = "out of memory"
	wordInterrupt = "interrupted"
)

// classify words an exception of the engine. After one for want of memory the
// value that was thrown can be empty.
func classify(err error, l Limits) *Error {
	var js *quickjs.Error
	if !errors.As(err, &js) {
		return failf(ReasonThrown, "%v", err)
	}
	name, message, stack := js.Name, js.Message, own(js.Stack)
	if name == "" && message == "" {
		message = js.Error()
	}
	switch {
	case name == "" && message == "thrown: null":
		return failf(ReasonMemory, "it threw null: what is left of an error when it needs more than %d MiB of memory, if no line says 'throw null'", l.Memory>>20)
	case strings.Contains(message, wordMemory), name == "" && (message == "" || message == "null"):
		return failf(ReasonMemory, "it needed more than %d MiB of memory: keep less at a time", l.Memory>>20)
	case name == "InternalError" && message == wordInterrupt:
		return failf(ReasonTime, "it ran for longer than %v: end the loop, or do less in one run", l.Time)
	case name == "SyntaxError":
		// Its place is a frame of its own, without a function; what JSON.parse or
		// eval throws comes from within one.
		first, _, _ := strings.Cut(strings.TrimSpace(stack), "\n")
		if place, ok := strings.CutPrefix(first, "at "); ok && strings.HasPrefix(place, appScheme) {
			return &Error{Reason: ReasonSyntax, Name: name, Message: message + " (" + place + ")", Stack: stack}
		}
	}
	return &Error{Reason: ReasonThrown, Name: name, Message: message, Stack: stack}
}
