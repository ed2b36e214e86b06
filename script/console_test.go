package script_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestConsoleShowsValues shows values that JSON has no notation for, or that resist being
// shown: a call of the console never fails, runs no code of the value, and shows JSON as it is.
func TestConsoleShowsValues(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ args, want string }{
		"nothing":            {``, ``},
		"JSON":               {`{a:[1,"x",null,true,{}],"b c":-1.5e300}`, `{"a":[1,"x",null,true,{}],"b c":-1.5e+300}`},
		"words":              {`"a", 1, "b"`, `a 1 b`},
		"no numbers":         {`undefined, NaN, -0, -Infinity, {u: undefined, n: [NaN, -0]}`, `undefined NaN -0 -Infinity {"u":undefined,"n":[NaN,-0]}`},
		"large integers":     {`10n, {v: 2n**70n}`, `10n {"v":1180591620717411303424n}`},
		"symbols":            {`Symbol("a"), {s: Symbol("in")}`, `Symbol(a) {"s":Symbol(in)}`},
		"functions":          {`function foo(){}, class Bar {}, [() => 1]`, `[Function: foo] [class Bar] [[Function]]`},
		"circle":             {`(() => { const a = {n: 1}; a.self = a; a.list = [a]; return a })()`, `{"n":1,"self":[Circular],"list":[[Circular]]}`},
		"twice, no circle":   {`(() => { const a = {k: 7}; return [a, a] })()`, `[{"k":7},{"k":7}]`},
		"date":               {`new Date(0), new Date(NaN), {at: new Date(0)}`, `1970-01-01T00:00:00.000Z Invalid Date {"at":1970-01-01T00:00:00.000Z}`},
		"map and set":        {`new Map([["k", {v: 1}], [2, "x"]]), new Set([1, "a"])`, `Map(2) {"k" => {"v":1},2 => "x"} Set(2) {1,"a"}`},
		"bytes":              {`new Uint8Array([1, 2, 255]), new ArrayBuffer(4)`, `Uint8Array(3) [1,2,255] ArrayBuffer(4) {}`},
		"regular expression": {`/a+/g, [/b/]`, `/a+/g [/b/]`},
		"opaque":             {`Promise.resolve(1), new WeakMap()`, `Promise {} WeakMap {}`},
		"class":              {`new (class Door { open = true })()`, `Door {"open":true}`},
		"no prototype":       {`{__proto__: null, z: 3}`, `{"z":3}`},
		"holes":              {`[1, , 3]`, `[1,undefined,3]`},
		"getter":             {`{get a() { throw new Error("g") }, b: 5, set c(v) {}}`, `{"a":[Getter],"b":5,"c":[Setter]}`},
		"toString throws":    {`{toString() { throw 1 }, q: 4}`, `{"toString":[Function: toString],"q":4}`},
		"toJSON throws":      {`{toJSON() { throw new Error("no") }, q: 1}`, `{"toJSON":[Function: toJSON],"q":1}`},
		"constructor throws": {`Object.create({get constructor() { throw 1 }}, {a: {value: 1, enumerable: true}})`, `{"a":1}`},
		"proxy":              {`new Proxy({}, {ownKeys() { throw new Error("p") }}), 2`, `[object that cannot be shown] 2`},
		"prototype of proxy": {`new Proxy({}, {getPrototypeOf() { throw 1 }}), Object.create(new Proxy({}, {getPrototypeOf() { throw 1 }})), 2`, `[object that cannot be shown] [object that cannot be shown] 2`},
		"revoked proxy":      {`(() => { const p = Proxy.revocable({}, {}); p.revoke(); return p.proxy })(), {a: 1}`, `[object that cannot be shown] {"a":1}`},
		"iterator changed":   {`(() => { Array.prototype[Symbol.iterator] = () => { throw 1 }; return {a: [1]} })()`, `{"a":[1]}`},
		"error":              {`{e: new TypeError("why")}`, `{"e":[TypeError: why]}`},
		"format":             {`"%s is %d and %j, %i%% of %o", "x", "3.5", {a: 1}, 7.9, ["b"], "rest"`, `x is 3.5 and {"a":1}, 7% of ["b"] rest`},
		"format, too few":    {`"%s %s %q", 1`, `1 %s %q`},
		"percent alone":      {`"100%"`, `100%`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, err := once(t, &shelf{}, `export default () => { console.log(`+c.args+`) }`, "")
			if err != nil || len(res.Lines) != 1 {
				t.Fatalf("%d lines, %v", len(res.Lines), err)
			}
			if got := res.Lines[0].Text; got != c.want {
				t.Errorf("shown as %s, want %s", got, c.want)
			}
		})
	}
}

// TestConsoleHasWhatConsolesHave calls what the console of a browser has, too.
func TestConsoleHasWhatConsolesHave(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ calls, want string }{
		"assert": {`assert(1 === 1, "no"); assert(false, "door", {n: 1}); assert(0)`, "error Assertion failed: door {\"n\":1}|error Assertion failed"},
		"count":  {`count(); count("a"); count(); countReset(); count()`, "info default: 1|info a: 1|info default: 2|info default: 1"},
		"group":  {`group("outer"); info("in"); group(); warn("a\nb"); groupEnd(); groupEnd(); groupEnd(); info("out")`, "info outer|info   in|warn     a\n    b|info out"},
		"dir":    {`dir({a: 1}, {depth: 0}); dirxml(2)`, `info {"a":1}|info 2`},
		"trace":  {`trace("here")`, "debug here"},
		"revoked": {
			`const p = Proxy.revocable({}, {}); p.revoke(); const v = p.proxy; dir(v); table(v); count(v); group(v); groupEnd(); assert(false, v)`,
			"info [object that cannot be shown]|info [object that cannot be shown]|info [object that cannot be shown]: 1|info [object that cannot be shown]|error Assertion failed: [object that cannot be shown]",
		},
		"table": {
			`table([{pin: "lamp", on: true}, {pin: "door"}]); table({a: {n: 1}}, ["n"]); table(5)`,
			"info (index)  pin     on\n0        \"lamp\"  true\n1        \"door\"|info (index)  n\na        1|info 5",
		},
		"timers": {`time("t"); timeEnd("nothing"); timeEnd("t")`, "warn Timer nothing was not started|info t: N ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, err := once(t, &shelf{}, `const {`+methods+`} = console; export default () => { `+c.calls+` }`, "")
			var lines []string
			for _, l := range res.Lines {
				text := l.Text
				if n := 0; strings.HasPrefix(text, "t: ") {
					if _, err := fmt.Sscanf(text, "t: %d ms", &n); err == nil {
						text = "t: N ms"
					}
				}
				lines = append(lines, l.Level+" "+text)
			}
			if got := strings.Join(lines, "|"); err != nil || got != c.want {
				t.Errorf("lines\n%s\nwant\n%s\n%v", got, c.want, err)
			}
		})
	}
}

const methods = "assert, count, countReset, debug, dir, dirxml, error, group, groupCollapsed, groupEnd, info, log, table, time, timeEnd, timeLog, trace, warn"

// TestConsoleStaysInBounds shows what is large or deep, within the limits of a run.
func TestConsoleStaysInBounds(t *testing.T) {
	t.Parallel()
	res, err := once(t, &shelf{}, `export default () => {
	let deep = []; for (let i = 0; i < 3000; i++) deep = [deep]; console.log(deep);
	const wide = []; for (let i = 0; i < 6000; i++) wide.push(i); console.log(wide);
	let many = {}; for (let i = 0; i < 18; i++) many = {a: many, b: many}; console.log(many);
	for (let i = 0; i < 1000; i++) console.group(); console.log("in groups");
	for (let i = 0; i < 1100; i++) { console.count("c" + i); console.time("t" + i); }
	return "ended"; }`, "")
	if err != nil || string(res.Output) != `"ended"` || !res.Truncated {
		t.Errorf("output %s, truncated: %t, %v", res.Output, res.Truncated, err)
	}
}

// TestConsoleOfAChangedLanguage loads the console in a script that has changed the language:
// it gets at no function that reaches the host.
func TestConsoleOfAChangedLanguage(t *testing.T) {
	t.Parallel()
	res, err := once(t, &shelf{}, `export default () => {
	const seen = [];
	for (const type of [Function, Array, Map, String, Object]) {
		for (const name of Object.getOwnPropertyNames(type.prototype)) {
			const old = Object.getOwnPropertyDescriptor(type.prototype, name).value;
			if (typeof old !== "function" || name === "constructor") continue;
			type.prototype[name] = function () { "use strict"; seen[seen.length] = [this, arguments]; return Reflect.apply(old, this, arguments); };
		}
	}
	console.log("%s", {a: [new Map()]}); console.table([{b: 1}]); console.group("g"); console.time();
	for (let i = 0, n = seen.length; i < n; i++) {
		const all = [seen[i][0]];
		for (let k = 0; k < seen[i][1].length; k++) all[k + 1] = seen[i][1][k];
		for (let k = 0; k < all.length; k++) try { if (typeof all[k] === "function") all[k]("line", "info", "forged"); } catch {}
	}
	return seen.length > 0; }`, "")
	if err != nil || string(res.Output) != "true" || len(res.Lines) != 3 {
		t.Errorf("lines %+v, output %s, %v", res.Lines, res.Output, err)
	}
}
