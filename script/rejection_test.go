package script_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/script"
)

// TestNoFailureVanishes has scripts lose a failure in all the ways there are: in a promise
// that nothing awaits, while modules load, in what the handler returns. Each fails the run,
// with what was thrown and the line where it was.
func TestNoFailureVanishes(t *testing.T) {
	t.Parallel()
	const missing = "an await or a catch is missing"
	for name, tt := range map[string]struct {
		source string
		reason script.Reason
		says   []string // of the error
		stack  string   // part of it
		line   string   // part of the console
	}{
		"an async function": {
			"async function save() {\n  unknown();\n}\nexport default async () => { save(); return 1 };",
			script.ReasonThrown,
			[]string{"ReferenceError: 'unknown' is not defined", missing},
			"save (app:main:2:", "",
		},
		"after its first await": {
			"async function save() {\n  await null;\n  throw new TypeError('late');\n}\nexport default () => { save() };",
			script.ReasonThrown,
			[]string{"TypeError: late", missing},
			"save (app:main:3:", "",
		},
		"lost in a loop": {
			"const all = async (n) => {\n  if (n === 7) throw new Error('number ' + n);\n};\nexport default () => { for (let i = 0; i < 10; i++) all(i) };",
			script.ReasonThrown,
			[]string{"Error: number 7"},
			"app:main:2:", "",
		},
		"several in a loop": {
			"export default () => { for (let i = 0; i < 30; i++) Promise.reject(new Error('number ' + i)) };",
			script.ReasonThrown,
			[]string{"Error: number 0"},
			"app:main:1:", "20 more rejections have no handler",
		},
		"a chain without a catch": {
			"export default () => { Promise.resolve(1).then((n) => n + 1).then((n) => { throw new Error('got ' + n) }).then(() => 0).finally(() => {}) };",
			script.ReasonThrown,
			[]string{"Error: got 2"},
			"app:main:1:", "",
		},
		"a long chain": {
			"export default () => { let p = Promise.resolve(0); for (let i = 0; i < 1000; i++) p = p.then((n) => n + 1);" +
				" p.then((n) => { throw new Error('after ' + n) }) };",
			script.ReasonThrown,
			[]string{"Error: after 1000"},
			"app:main:1:", "",
		},
		"a call of the SDK": {
			"import { kv } from 'picloud';\nexport default () => {\n  kv.set('refused', 1);\n};",
			script.ReasonThrown,
			[]string{"ForbiddenError: Not allowed", "kv.set", missing},
			"app:main:3:", "",
		},
		"an awaited call of the SDK": {
			"import { kv } from 'picloud';\nexport default async () => {\n  await kv.set('refused', 1);\n};",
			script.ReasonThrown,
			[]string{"ForbiddenError: Not allowed"},
			"app:main:3:", "",
		},
		"after a call of the SDK": {
			"import { kv } from 'picloud';\nasync function save() { await kv.set('x', 1); throw new Error('after save') }\nexport default () => { save() };",
			script.ReasonThrown,
			[]string{"Error: after save"},
			"save (app:main:2:", "",
		},
		"after a call that the handler outlives": {
			"import { time } from 'picloud';\nexport default () => { time.sleep(50).then(() => { throw new Error('late') }); return 1 };",
			script.ReasonThrown,
			[]string{"Error: late"},
			"app:main:2:", "",
		},
		"beside an error of the handler": {
			"export default () => { Promise.reject(new Error('aside')); throw new Error('first') };",
			script.ReasonThrown,
			[]string{"Error: first"},
			"app:main:1:", "Error: aside",
		},
		"why the handler never ends": {
			"const work = async () => { throw new Error('no work') };\nexport default () => new Promise((resolve) => { work().then(resolve) });",
			script.ReasonThrown,
			[]string{"Error: no work"},
			"app:main:1:", "",
		},
		"at the top of the module": {
			"await null;\nPromise.reject(new Error('at the top'));\nexport default () => 1;",
			script.ReasonThrown,
			[]string{"Error: at the top"},
			"app:main:2:", "",
		},
		"the module itself": {
			"\nawait Promise.reject(new Error('at the top'));\nexport default () => 1;",
			script.ReasonThrown,
			[]string{"Error: at the top"},
			"app:main:2:", "",
		},
		"an imported module": {
			"import 'app:throws';\nexport default () => 1;",
			script.ReasonThrown,
			[]string{"Error: lib throws"},
			"app:throws:2:", "",
		},
		"a promise of an imported module": {
			"import 'app:loses';\nexport default () => 1;",
			script.ReasonThrown,
			[]string{"Error: lib loses"},
			"app:loses:1:", "",
		},
		"a module that is imported later": {
			"export default () => { import('app:throws') };",
			script.ReasonThrown,
			[]string{"Error: lib throws"},
			"app:throws:2:", "",
		},
		"a getter of the result": {
			"export default () => ({\n  get a() { throw new Error('in a getter') } });",
			script.ReasonOutput,
			[]string{"Error: in a getter"},
			"app:main:2:", "",
		},
		"a promise of a getter": {
			"export default () => ({ get a() { Promise.reject(new Error('in a getter')); return 1 } });",
			script.ReasonThrown,
			[]string{"Error: in a getter"},
			"app:main:1:", "",
		},
		"an error with a getter": {
			"export default () => { const e = new Error('x'); Object.defineProperty(e, 'message', { get() { throw 1 } }); Promise.reject(e) };",
			script.ReasonThrown,
			[]string{"cannot be shown", missing},
			"", "",
		},
		"an error without end": {
			"export default () => { Promise.reject(new Error('x'.repeat(9e6))) };",
			script.ReasonThrown,
			[]string{"Error: xxx", "… (cut); nothing handles", missing},
			"app:main:1:", "",
		},
		"a text without end": {"export default () => { throw 'x'.repeat(9e6) };", script.ReasonThrown, []string{"thrown: xxx", "… (cut)"}, "", ""},
		"a name without end": {
			"export default () => { const e = new Error('x'); e.name = 'y'.repeat(9e6); throw e };",
			script.ReasonThrown,
			[]string{"yyy", "… (cut)"},
			"app:main:1:", "",
		},
		"a stack without end": {
			"export default () => { const e = new Error('x'); e.stack = 'z'.repeat(9e6); throw e };",
			script.ReasonThrown,
			[]string{"Error: x"},
			"… (cut)", "",
		},
		"a module's name without end": {
			"export default () => import('app:' + 'x'.repeat(3e6));",
			script.ReasonThrown,
			[]string{`cannot import "app:xxx`},
			"", "",
		},
		"exports without end": {
			"export const " + strings.Repeat("x", 20000) + " = () => 1;",
			script.ReasonMissing,
			[]string{"it exports xxx", "… (cut)"},
			"", "",
		},
		"null":                       {"export default () => { throw null };", script.ReasonThrown, []string{"thrown: null"}, "", ""},
		"a rejection with null":      {"export default () => { Promise.reject(null) };", script.ReasonThrown, []string{"thrown: null", missing}, "", ""},
		"undefined":                  {"export default async () => { throw undefined };", script.ReasonThrown, []string{"thrown: undefined"}, "", ""},
		"a rejection with undefined": {"export default () => { Promise.reject() };", script.ReasonThrown, []string{"thrown: undefined", missing}, "", ""},
		"an error that speaks of memory": {
			"export default () => { throw new Error('the mail server is out of memory') };",
			script.ReasonThrown,
			[]string{"Error: the mail server is out of memory"},
			"app:main:1:", "",
		},
		"memory": {
			"export default async () => { const a = []; for (;;) a.push({ x: a.length }) };",
			script.ReasonMemory,
			[]string{"32 MiB"},
			"", "",
		},
		"memory in a promise": {
			"export default () => { (async () => { const a = []; for (;;) a.push({ x: a.length }) })() };",
			script.ReasonMemory,
			[]string{"32 MiB"},
			"", "",
		},
		"memory full of rejections": {
			"export default () => { const a = []; for (;;) a.push(Promise.reject(1)) };",
			script.ReasonMemory,
			[]string{"32 MiB"},
			"", "more rejections have no handler",
		},
		"a cause": {
			"export default () => { try { null.x } catch (cause) { throw new Error('outer', { cause }) } };",
			script.ReasonThrown,
			[]string{"Error: outer (cause: TypeError: cannot read property 'x' of null)"},
			"\ncause: TypeError: cannot", "",
		},
		"a cause that is no error": {
			"export default () => { throw new Error('outer', { cause: { code: 42 } }) };",
			script.ReasonThrown,
			[]string{`Error: outer (cause: {"code":42})`},
			"app:main:1:", "",
		},
		"the errors of an AggregateError": {
			"export default () => Promise.any([Promise.reject(new Error('one')), Promise.reject(new TypeError('two'))]);",
			script.ReasonThrown,
			[]string{"error 1 of 2: Error: one; error 2 of 2: TypeError: two"},
			"\nerror 2 of 2: TypeError: two\n    at", "",
		},
		"a circle of causes": {
			"export default () => { const e = new Error('round'); e.cause = e; throw e };",
			script.ReasonThrown,
			[]string{"Error: round"},
			"app:main:1:", "",
		},
		"5000 causes": {
			"export default () => { let e = new Error('deep'); for (let i = 0; i < 5000; i++) e = new Error('e' + i, { cause: e }); throw e };",
			script.ReasonThrown,
			[]string{"Error: e4999 (cause: Error: e4998"},
			"app:main:1:", "",
		},
		"100000 errors of an AggregateError": {
			"export default () => { throw new AggregateError(Array(1e5).fill(0).map((_, i) => 'e' + i), 'many') };",
			script.ReasonThrown,
			[]string{"AggregateError: many (error 1 of 100000: e0"},
			"app:main:1:", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &shelf{scripts: map[string]string{
				"a/throws": "await null;\nthrow new Error('lib throws');",
				"a/loses":  "(async () => { await null; throw new Error('lib loses') })();",
			}, call: answering}
			res, err := once(t, h, tt.source, "")
			var e *script.Error
			if !errors.As(err, &e) {
				t.Fatalf("the run ended with %s, %v", res.Output, err)
			}
			if e.Reason != tt.reason {
				t.Errorf("the reason is %s, want %s", e.Reason, tt.reason)
			}
			for _, words := range tt.says {
				if !strings.Contains(e.Error(), words) {
					t.Errorf("the error does not say %q: %.500s", words, e.Error())
				}
			}
			if !strings.Contains(e.Stack, tt.stack) {
				t.Errorf("the stack has no %q: %.500s", tt.stack, e.Stack)
			}
			if n, most := len(e.Name)+len(e.Message)+len(e.Stack), 25<<10; n > most {
				t.Errorf("the error has %d bytes, want at most %d", n, most)
			}
			var lines strings.Builder
			for _, l := range res.Lines {
				lines.WriteString(l.Text + "\n")
			}
			if !strings.Contains(lines.String(), tt.line) {
				t.Errorf("no line has %q: %s", tt.line, lines.String())
			}
		})
	}
}

// answering is an SDK that refuses what is called "refused", and answers the rest.
func answering(_ context.Context, c picloud.ScriptCall) (json.RawMessage, error) {
	if len(c.Args) > 0 && string(c.Args[0]) == `"refused"` {
		return nil, picloud.ErrForbidden
	}
	return json.RawMessage("1"), nil
}

// TestHandledRejectionsAreNoFailure has promises rejected that get their handler in time,
// which is until the run ends.
func TestHandledRejectionsAreNoFailure(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]string{
		"at once": "export default async () => { try { await Promise.reject(new Error('x')) } catch { return 1 } };",
		"after a pause": "import { time } from 'picloud';\n" +
			"export default async () => { const p = Promise.reject(new Error('x')); await time.sleep(5); try { await p } catch { return 1 } };",
		"after microtasks": "export default async () => { const p = (async () => { throw 1 })();\n" +
			"for (let i = 0; i < 100; i++) await null; return p.catch(() => 1) };",
		"all settled": "const f = async () => { throw 1 };\n" +
			"export default async () => { const p = Array(5000).fill(0).map(f); await null; await Promise.allSettled(p); return 1 };",
		"the others of a race": "import { kv } from 'picloud';\n" +
			"export default async () => { try { await Promise.all([kv.set('refused', 1), kv.set('refused', 2), kv.set('x', 3)]) } catch { return 1 } };",
		"a refused call": "import { kv } from 'picloud'; export default async () => { kv.set('refused', 1).catch(() => {}); return 1 };",
		"after the handler": "import { time } from 'picloud';\n" +
			"export default () => { const p = Promise.reject(1); time.sleep(1).then(() => p.catch(() => {})); return 1 };",
		"the handler's own":      "export default () => Promise.resolve(1).finally(async () => { await null });",
		"an import that failed":  "export default async () => { try { await import('app:nowhere') } catch { return 1 } };",
		"an async generator":     "async function* g() { yield 1; throw 1 } export default async () => { try { for await (const x of g()); } catch { return 1 } };",
		"a promise never needed": "export default () => { new Promise(() => {}); return 1 };",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, err := once(t, &shelf{call: answering}, source, "")
			if err != nil || string(res.Output) != "1" || len(res.Lines) > 0 {
				t.Errorf("the run ended with %s, %v, %+v", res.Output, err, res.Lines)
			}
		})
	}
}

// TestWorkBehindTheHandlerIsDone counts the calls of a script that awaits none of them,
// some of them made when others have been answered.
func TestWorkBehindTheHandlerIsDone(t *testing.T) {
	t.Parallel()
	res, err := once(t, &shelf{call: answering}, `
import { kv, time } from "picloud";
async function later(n) { await time.sleep(1); for (let i = 0; i < n; i++) await kv.set("k" + i, i); }
export default () => { for (let i = 0; i < 50; i++) kv.set("many" + i, i); later(10); return { get seen() { kv.set("in a getter", 1); return 1 } } };`, "")
	if err != nil || res.Calls != 62 || string(res.Output) != `{"seen":1}` {
		t.Errorf("%d calls were made, want 62: %s, %v", res.Calls, res.Output, err)
	}
}

// TestLongLinesAreCut cuts a line of the console between two characters, and says so.
func TestLongLinesAreCut(t *testing.T) {
	t.Parallel()
	res, err := once(t, &shelf{}, `export default () => {
	console.log("é".repeat(5e6)); console.log("after"); console.log(new Error("outer", { cause: new TypeError("inner") })) };`, "")
	if err != nil || len(res.Lines) != 3 || !res.Truncated {
		t.Fatalf("%d lines, truncated: %t, %v", len(res.Lines), res.Truncated, err)
	}
	first, mark := res.Lines[0].Text, "é… (cut)"
	if !strings.HasSuffix(first, mark) || len(first) > 8<<10 || strings.Contains(first, "\uFFFD") || res.Lines[1].Text != "after" {
		t.Errorf("the lines are %d bytes, …%q, then %q", len(first), first[max(0, len(first)-20):], res.Lines[1].Text)
	}
	if text := res.Lines[2].Text; !strings.Contains(text, "Error: outer") || !strings.Contains(text, "cause: TypeError: inner") {
		t.Errorf("an error is shown as %s", text)
	}
}
