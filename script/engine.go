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

//go:embed console.js
var consoleSource string

//go:embed sdk.js
var sdkSource string

// SDKVersion is the version of the SDK, which rises with its surface (semver).
const SDKVersion = "0.4.0"

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
var ours = sync.OnceValues(func() (c struct{ run, console, sdk []byte }, err error) {
	vm, err := quickjs.NewVM()
	if err != nil {
		return c, fmt.Errorf("make an engine: %w", err)
	}
	if c.run, err = vm.Compile(runSource, quickjs.EvalGlobal); err == nil {
		c.console, err = vm.Compile(consoleSource, quickjs.EvalGlobal)
	}
	if err == nil {
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
	line(l lineBody)
}

// engine runs one job in a QuickJS of its own. It can be made before there is a
// job. It is used by one goroutine.
type engine struct {
	vm     *quickjs.VM
	watch  *watch
	daemon daemonSide
	job    *jobBody       // nil: none yet
	inside *quickjs.Value // how to get in
	sdk    bool           // the SDK is loaded
	wants  bool           // the job has asked for it
	left   time.Duration  // of the processor's time, for the script itself
	calls  []callBody     // that the daemon does not have yet
	queued int            // bytes of their arguments
	open   map[int]int    // bytes of the arguments of calls without a reply, by their id
	size   int            // of all of those
	result *doneBody      // what the handler ended with; nil: it has not
	shown  int            // rejections that nothing handled and that were told
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
	e := &engine{vm: vm, daemon: d, open: make(map[int]int)}
	if e.watch, err = newWatch(vm); err != nil {
		return nil, errors.Join(err, vm.Close())
	}
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
	e.watch.close()
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

// loadConsole gives run.js what shows values.
func (e *engine) loadConsole() error {
	code, err := ours()
	if err != nil {
		return err
	}
	show, err := e.vm.EvalBytecodeValue(code.console)
	if err != nil {
		return fmt.Errorf("load the console: %w", err)
	}
	defer show.Free()
	return e.enter("console", show)
}

// check only reads the script.
func (e *engine) check() {
	defer whenOver(ownTime()+e.left, ownTime, e.vm.Interrupt)()
	_, err := e.vm.Compile(e.job.Source, quickjs.EvalModule)
	if err == nil {
		e.done = &doneBody{}
		return
	}
	fault := e.classify(err)
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
		e.size -= e.open[r.ID]
		delete(e.open, r.ID)
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
		err = e.settle()
	}
	stop()
	e.left -= ownTime() - began
	switch {
	case e.left <= 0:
		e.end(failf(ReasonTime, "it ran for longer than %v: end the loop, or do less in one run", e.job.Limits.Time))
	case e.done != nil:
	case err != nil:
		e.end(e.classify(err))
	}
}

// maxShown is how many rejections that nothing handled a run tells of.
const maxShown = 10

// settle runs what is due. When that leaves nothing to wait for, the run has ended: with
// what the handler ended with, unless nothing has handled a rejection until now.
func (e *engine) settle() error {
	for {
		if _, err := e.vm.ExecutePendingJobs(); err != nil {
			return err //nolint:wrapcheck // as in enter
		}
		switch {
		case e.done != nil || len(e.open)+len(e.calls) > 0:
			return nil
		case len(e.watch.unhandled) > 0 && e.shown < maxShown:
			e.shown++
			if err := e.watch.first(*e.inside, func(reason quickjs.Value) error { return e.enter("unhandled", reason) }); err != nil {
				return err
			}
		case e.result == nil:
			e.end(failf(ReasonStalled, "the handler waits for a promise that nothing will ever settle"))
			return nil
		default:
			if n := len(e.watch.unhandled); n > 0 {
				e.line("error", fmt.Sprintf("%d more rejections have no handler", n))
			}
			e.done = e.result
			return nil
		}
	}
}

// unhandled takes in a rejection that nothing handles: a fault of the run, unless it
// has one.
func (e *engine) unhandled(fault *Error, call string) {
	hint := "; nothing handles this rejection: an await or a catch is missing"
	if call != "" {
		hint = "; nothing handles this failure of " + call + ": an await or a catch is missing"
	}
	fault.Message = clip(fault.Message, maxMessage-len(hint)) + hint
	if e.result == nil || e.result.Error == nil {
		e.result = &doneBody{Error: fault}
		return
	}
	e.line("error", strings.TrimSpace(fault.Error()+"\n"+fault.Stack))
}

// end ends the run at once.
func (e *engine) end(fault *Error) { e.done = &doneBody{Error: fault} }

// line hands a line of the console over.
func (e *engine) line(level, text string) {
	kept := clip(text, maxLine)
	e.daemon.line(lineBody{Level: level, Text: kept, Cut: len(kept) != len(text)})
}

// give returns the calls that were made, for the daemon: as many as it takes at once.
func (e *engine) give() []callBody {
	n := 0
	for ; n < len(e.calls) && len(e.open) < maxOpen; n++ {
		size := argumentBytes(e.calls[n])
		if e.size+size > maxCalls {
			break
		}
		e.open[e.calls[n].ID] = size
		e.size, e.queued = e.size+size, e.queued-size
	}
	list := e.calls[:n:n]
	e.calls = e.calls[n:]
	return list
}

// maxQueued bounds the arguments of calls that wait until the daemon takes them.
const maxQueued = 4 * maxCalls

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
		if len(word(4)) > maxCalls || e.queued+len(word(4)) > maxQueued {
			return false, nil
		}
		id, _ := args[1].(int)
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(word(4)), &list); err != nil {
			return nil, err //nolint:wrapcheck // a text that JSON.stringify has just made
		}
		c := callBody{ID: id, Module: word(2), Method: word(3), Args: list}
		e.calls, e.queued = append(e.calls, c), e.queued+argumentBytes(c)
		return true, nil
	case "console":
		return nil, e.loadConsole()
	case "line":
		e.line(word(1), word(2))
	case "done":
		e.result = e.output(word(1), word(2) != "")
	case "missing":
		e.result = &doneBody{Error: failf(ReasonMissing, "%s", word(1))}
	default:
		e.fault(word(0), &quickjs.Error{Name: word(1), Message: word(2), Stack: word(3)}, word(4))
	}
	return nil, nil
}

// output is the end of a run whose handler returned something.
func (e *engine) output(text string, response bool) *doneBody {
	if limit := min(e.job.Limits.Output, maxFrame/2); len(text) > limit {
		return &doneBody{Error: failf(ReasonOutput, "the result has %d bytes, the limit is %d: keep it in a file or a key, and return where", len(text), limit)}
	}
	return &doneBody{Output: json.RawMessage(text), Response: response}
}

// fault takes in what was thrown: by the handler, by its result while that was made
// JSON, or in a promise that nothing waits for.
func (e *engine) fault(what string, thrown *quickjs.Error, call string) {
	fault := e.classify(thrown)
	switch what {
	case "unhandled":
		e.unhandled(fault, call)
		return
	case "output":
		if fault.Reason == ReasonThrown {
			fault = &Error{Reason: ReasonOutput, Message: "the result is not JSON: " + fault.Error(), Stack: fault.Stack}
		}
	}
	e.result = &doneBody{Error: fault}
}

// normalize turns what an import says into the name of a module.
func (e *engine) normalize(_ *quickjs.VM, _, name string) (string, error) {
	if name == sdkName {
		e.wants = true
		if !e.sdk && !e.job.Check {
			if err := e.loadSDK(); err != nil {
				e.end(e.classify(err))
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

// own is a stack without the frames of the SDK, which authors can do nothing
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

// classify words an exception of the engine.
func (e *engine) classify(err error) *Error {
	var js *quickjs.Error
	if !errors.As(err, &js) {
		return failf(ReasonThrown, "%v", err)
	}
	name, message, stack := js.Name, js.Message, own(js.Stack)
	if name == "" && message == "" {
		message = js.Error()
	}
	switch {
	case name == "InternalError" && message == wordMemory, e.watch.starved && emptied(name, message):
		return failf(ReasonMemory, "it needed more than %d MiB of memory: keep less at a time", e.job.Limits.Memory>>20)
	case name == "InternalError" && message == wordInterrupt:
		return failf(ReasonTime, "it ran for longer than %v: end the loop, or do less in one run", e.job.Limits.Time)
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

// emptied reports whether an exception can be what is left of one that there was no
// memory for: the engine then throws null. A script throws that, too.
func emptied(name, message string) bool {
	switch message {
	case "", "null", "thrown: null":
		return name == ""
	}
	return strings.Contains(message, wordMemory)
}
