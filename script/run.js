// What every run has, whether or not it uses the SDK: the console, and how the handler is
// found, called and ended. The value of this script is the one function
// by which the host gets in, as __host is the one by which scripts get out.
(() => {
const host = globalThis.__host;
delete globalThis.__host;

// Our own references to what is needed of the language, so that a script that
// changes Promise.prototype or JSON harms itself alone.
const { parse, stringify } = JSON, { freeze, keys, defineProperty } = Object, { apply } = Reflect, E = Error, S = String;
const uncurry = (f) => f.call.bind(f);
const then = uncurry(Promise.prototype.then), slice = uncurry(S.prototype.slice), includes = uncurry(S.prototype.includes);

// What the SDK shares with this.
const run = { budget: 0, ctx: undefined, started: undefined, settle: undefined, isResponse: () => false };

// Lengths of texts, a little more than the host keeps.
const maxText = 20000, maxBehind = 500, cut = (v, n) => slice(S(v), 0, n);

// more is what console.js makes, which takes a third of the time of a short run: it is loaded
// with the first call that prints other values than texts.
let made;
function more() {
  if (!made) host("console");
  return made;
}

const plain = (v) => typeof v === "string" || typeof v === "boolean" || (typeof v === "number" && v !== 0);

// A call never fails: whatever is handed to it, and whatever the script has made of the language.
function print(level, args) {
  try {
    let s = "";
    for (let i = 0; i < args.length; i++) {
      if (made || !plain(args[i]) || (i === 0 && args.length > 1 && includes(S(args[i]), "%"))) { more().print(level, args); return; }
      s += (i ? " " : "") + cut(args[i], maxText);
    }
    host("line", level, slice(s, 0, maxText));
  } catch { host("line", level, "[values that cannot be shown]"); }
}

const line = (level) => (...args) => print(level, args);
const later = (name) => (...args) => {
  try { apply(more()[name], undefined, args); } catch { host("line", "info", "[values that cannot be shown]"); }
};
const log = freeze({ debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") });
globalThis.console = freeze({
  debug: log.debug, log: log.info, info: log.info, warn: log.warn, error: log.error, trace: log.debug, dirxml: log.info,
  assert: later("assert"), count: later("count"), countReset: later("countReset"), dir: later("dir"), group: later("group"),
  groupCollapsed: later("group"), groupEnd: later("groupEnd"), table: later("table"), time: later("time"), timeEnd: later("timeEnd"), timeLog: later("timeLog"),
});

// fail tells the host how an error ended the run, or that nothing handled it.
function fail(what, e) {
  let name = "", message = "", stack = "", call = "";
  try {
    if (e instanceof E) {
      name = cut(e.name, maxText); message = cut(e.message, maxText); stack = cut(e.stack || "", maxText);
      if (typeof e.call === "string") call = cut(e.call, maxBehind);
      const out = { words: "", stacks: "", seen: [e] };
      more().behind(e, out);
      if (out.words) { message += (message ? " " : "") + "(" + out.words + ")"; stack += out.stacks; }
    } else { message = "thrown: " + cut(more().show(e), maxText); }
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
  case "console": made = a(host); break;
  case "unhandled": fail("unhandled", a); break;
  case "share": defineProperty(globalThis, "__run", { value: { host, run, log }, configurable: true });
  }
};
})()
