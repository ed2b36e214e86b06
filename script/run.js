// What every run has, whether or not it uses the SDK: the console, and how the
// handler is found, called and ended. The value of this script is the one function
// by which the host gets in, as __host is the one by which scripts get out.
(() => {
const host = globalThis.__host;
delete globalThis.__host;

// Our own references to what is needed of the language, so that a script that
// changes Promise.prototype or JSON harms itself alone.
const { parse, stringify } = JSON;
const { freeze, keys, defineProperty } = Object;
const E = Error, S = String;
const uncurry = (f) => f.call.bind(f);
const then = uncurry(Promise.prototype.then), slice = uncurry(S.prototype.slice);

// What the SDK shares with this. Calls that are open keep a run from ending.
const run = { open: 0, budget: 0, ctx: undefined, started: undefined, finished: undefined, settle: undefined, isResponse: () => false };

function show(v) {
  if (typeof v === "string") return v;
  if (v instanceof E) return v.stack ? v.name + ": " + v.message + "\n" + v.stack : v.name + ": " + v.message;
  if (typeof v === "bigint") return v + "n";
  if (typeof v === "symbol" || typeof v === "function" || v === undefined) return S(v);
  try { return stringify(v) ?? S(v); } catch { return "[" + (typeof v) + " that is not JSON]"; }
}

function line(level, args) {
  let s = "";
  for (let i = 0; i < args.length; i++) s += (i ? " " : "") + show(args[i]);
  host("line", level, slice(s, 0, 8192));
}

const log = freeze({
  debug: (...a) => line("debug", a), info: (...a) => line("info", a),
  warn: (...a) => line("warn", a), error: (...a) => line("error", a),
});
globalThis.console = freeze({ debug: log.debug, log: log.info, info: log.info, warn: log.warn, error: log.error, trace: log.debug });

function fail(e) {
  let name = "", message = "", stack = "";
  try {
    if (e instanceof E) { name = S(e.name); message = S(e.message); stack = S(e.stack || ""); } else { message = "thrown: " + show(e); }
  } catch { message = "something was thrown that cannot be shown"; }
  host("fail", name, message, stack);
}

function end(value) {
  let text;
  try { text = stringify(value); } catch (e) { host("output", S(e && e.message)); return; }
  host("done", text === undefined ? "null" : text, run.isResponse(value) ? "response" : "");
}

async function handle(main, exported, input) {
  const module = await import(main);
  const handler = module[exported];
  if (typeof handler !== "function") {
    const there = keys(module).filter((k) => typeof module[k] === "function");
    host("missing", "the script exports no function '" + exported + "'" + (there.length ? "; it exports " + there.join(", ") : "") + ": write 'export default async function (input, ctx) { … }'");
    return undefined;
  }
  return handler(parse(input), run.ctx);
}

function start(main, exported, input, context, calls) {
  run.budget = calls;
  run.ctx = freeze(parse(context));
  if (run.started) run.started();
  then(handle(main, exported, input),
    (value) => { if (run.open === 0) end(value); else run.finished = () => end(value); },
    (e) => { if (run.open === 0) fail(e); else run.finished = () => fail(e); });
}

return (what, a, b, c, d, e) => {
  switch (what) {
  case "start": start(a, b, c, d, e); break;
  case "settle": run.settle(a, b, c); break;
  case "share": defineProperty(globalThis, "__run", { value: { host, run, line, log }, configurable: true });
  }
};
})()
