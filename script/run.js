// What every run has, whether or not it uses the SDK: the console, and how the
// handler is found, called and ended. The value of this script is the one function
// by which the host gets in, as __host is the one by which scripts get out.
(() => {
const host = globalThis.__host;
delete globalThis.__host;

// Our own references to what is needed of the language, so that a script that
// changes Promise.prototype or JSON harms itself alone.
const { parse, stringify } = JSON;
const { freeze, keys, defineProperty, hasOwn } = Object, { isArray } = Array;
const E = Error, AE = AggregateError, S = String;
const uncurry = (f) => f.call.bind(f);
const then = uncurry(Promise.prototype.then), slice = uncurry(S.prototype.slice);

// What the SDK shares with this.
const run = { budget: 0, ctx: undefined, started: undefined, settle: undefined, isResponse: () => false };

// Lengths of texts about errors, a little more than the host keeps, and how many of
// the errors behind one are shown.
const maxText = 20000, maxBehind = 500, maxErrors = 8;

const cut = (v, n) => slice(S(v), 0, n);

// behind collects what led to an error: its causes, and the errors that an
// AggregateError stands for, each as a word in out.words and with its stack in out.stacks.
function behind(e, out) {
  const list = [];
  if (hasOwn(e, "cause")) list[0] = ["cause", e.cause];
  if (e instanceof AE && isArray(e.errors)) {
    const n = e.errors.length;
    for (let i = 0; i < n && i < maxErrors; i++) list[list.length] = ["error " + (i + 1) + " of " + n, e.errors[i]];
  }
  for (let i = 0; i < list.length; i++) {
    const label = list[i][0], v = list[i][1];
    for (let k = 0; k < out.seen.length; k++) if (out.seen[k] === v) return;
    if (out.seen.length > maxErrors) return;
    out.seen[out.seen.length] = v;
    const error = v instanceof E;
    const words = label + ": " + (error ? cut(v.name, maxBehind) + ": " + cut(v.message, maxBehind) : cut(show(v), maxBehind));
    out.words += (out.words ? "; " : "") + words;
    out.stacks += "\n" + words + (error ? "\n" + cut(v.stack || "", 4 * maxBehind) : "");
    if (error) behind(v, out);
  }
}

function show(v) {
  if (typeof v === "string") return v;
  if (v instanceof E) {
    const out = { words: "", stacks: "", seen: [v] };
    behind(v, out);
    return v.name + ": " + v.message + (v.stack ? "\n" + v.stack : "") + out.stacks;
  }
  if (typeof v === "bigint") return v + "n";
  if (typeof v === "symbol" || typeof v === "function" || v === undefined) return S(v);
  try { return stringify(v) ?? S(v); } catch { return "[" + (typeof v) + " that is not JSON]"; }
}

function line(level, args) {
  let s = "";
  for (let i = 0; i < args.length; i++) s += (i ? " " : "") + show(args[i]);
  host("line", level, slice(s, 0, maxText));
}

const log = freeze({
  debug: (...a) => line("debug", a), info: (...a) => line("info", a),
  warn: (...a) => line("warn", a), error: (...a) => line("error", a),
});
globalThis.console = freeze({ debug: log.debug, log: log.info, info: log.info, warn: log.warn, error: log.error, trace: log.debug });

// fail tells the host how an error ended the run, or that nothing handled it.
function fail(what, e) {
  let name = "", message = "", stack = "", call = "";
  try {
    if (e instanceof E) {
      name = cut(e.name, maxText); message = cut(e.message, maxText); stack = cut(e.stack || "", maxText);
      if (typeof e.call === "string") call = cut(e.call, maxBehind);
      const out = { words: "", stacks: "", seen: [e] };
      behind(e, out);
      if (out.words) { message += (message ? " " : "") + "(" + out.words + ")"; stack += out.stacks; }
    } else { message = "thrown: " + cut(show(e), maxText); }
  } catch { message ||= "something was thrown that cannot be shown"; }
  host(what, name, message, stack, call);
}

function end(value) {
  let text;
  try { text = stringify(value); } catch (e) { fail("output", e); return; }
  host("done", text === undefined ? "null" : text, run.isResponse(value) ? "response" : "");
}

// nothing is what a script without the handler returns.
const nothing = {};

async function handle(main, exported, input) {
  const module = await import(main);
  const handler = module[exported];
  if (typeof handler !== "function") {
    const there = keys(module).filter((k) => typeof module[k] === "function");
    host("missing", "the script exports no function '" + exported + "'" + (there.length ? "; it exports " + there.join(", ") : "") + ": write 'export default async function (input, ctx) { … }'");
    return nothing;
  }
  return handler(parse(input), run.ctx);
}

function start(main, exported, input, context, calls) {
  run.budget = calls;
  run.ctx = freeze(parse(context));
  if (run.started) run.started();
  then(handle(main, exported, input), (value) => { if (value !== nothing) end(value); }, (e) => fail("fail", e));
}

return (what, a, b, c, d, e) => {
  switch (what) {
  case "start": start(a, b, c, d, e); break;
  case "settle": run.settle(a, b, c); break;
  case "unhandled": fail("unhandled", a); break;
  case "share": defineProperty(globalThis, "__run", { value: { host, run, log }, configurable: true });
  }
};
})()
