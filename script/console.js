// The console: what scripts print, as lines of the record of a run. A call never fails, and
// shows a value without running code of it: no toString, no toJSON, no getter. Only traps of
// a Proxy, and what a script has made of an Error, cannot be avoided; what they throw ends where it is. JSON is shown as JSON, and what
// has no notation there as in JavaScript, all on one line.
//
// The value of this script makes of the function by which scripts get out what run.js calls.
// It is loaded when a script has run: one that has changed the language by then harms its own
// console, and does not get at the host, which is called and never passed on.
((host) => {
const { stringify } = JSON, { keys, hasOwn, is, getPrototypeOf, getOwnPropertyDescriptor: own } = Object, { isArray } = Array;
const E = Error, AE = AggregateError, S = String, N = Number, D = Date, RE = RegExp, MapType = Map, SetType = Set, Buffer = ArrayBuffer, { isView } = Buffer, { now } = Date, { trunc } = Math;
const uncurry = (f) => f.call.bind(f), getter = (type, name) => uncurry(own(type.prototype, name).get);
const slice = uncurry(S.prototype.slice), indexOf = uncurry(S.prototype.indexOf), padEnd = uncurry(S.prototype.padEnd);
const split = uncurry(S.prototype.split), join = uncurry(Array.prototype.join), repeat = uncurry(S.prototype.repeat);
const iso = uncurry(D.prototype.toISOString), timeOf = uncurry(D.prototype.getTime), source = getter(RE, "source"), flags = uncurry(own(RE.prototype, "flags").get);
const mapSize = getter(Map, "size"), eachOfMap = uncurry(Map.prototype.forEach), setSize = getter(Set, "size"), eachOfSet = uncurry(Set.prototype.forEach);
const bytes = getter(ArrayBuffer, "byteLength"), sourceOf = uncurry(Function.prototype.toString);

// Lengths of texts, a little more than the host keeps; how deep values are shown; how many of
// the errors behind one are; how many labels of count and time are kept, and groups in groups.
const maxText = 20000, maxBehind = 500, maxDepth = 32, maxErrors = 8, maxLabels = 1000, maxGroups = 100;

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

// data returns a property of v that is there without running code, or undefined.
const data = (v, name) => own(v, name)?.value;

// typeName names the class of v, unless that says nothing.
function typeName(v) {
  const name = data(data(getPrototypeOf(v) ?? {}, "constructor") ?? {}, "name");
  return typeof name === "string" && name !== "Object" && name !== "Array" ? cut(name, maxBehind) : "";
}

function functionText(f) {
  const name = data(f, "name"), word = slice(sourceOf(f), 0, 5) === "class" ? "class" : "Function";
  if (typeof name !== "string" || name === "") return "[" + word + "]";
  return "[" + word + (word === "class" ? " " : ": ") + cut(name, maxBehind) + "]";
}

// attempt returns what f makes of v, or undefined where v only pretends to be of its kind.
const attempt = (f, v) => { try { return f(v); } catch { return undefined; } };

// An out is a text in parts, which grows up to what is kept of a line.
const start = () => ({ parts: [], length: 0 }), full = (out) => out.length > maxText, whole = (out) => join(out.parts, "");
function put(out, s) {
  out.parts[out.parts.length] = s;
  out.length += s.length;
}

// list adds n parts between brackets.
function list(out, open, n, part, close) {
  put(out, open);
  for (let i = 0; i < n && !full(out); i++) {
    if (i) put(out, ",");
    part(i);
  }
  put(out, close);
}

function members(v, out, path) {
  const names = keys(v);
  list(out, "{", names.length, (i) => {
    const p = own(v, names[i]) ?? {};
    put(out, stringify(names[i]) + ":");
    if (p.get || p.set) put(out, p.get ? "[Getter]" : "[Setter]");
    else add(p.value, out, path);
  }, "}");
}

// elements adds what an array has, without running a getter of an index.
function elements(v, out, path) {
  list(out, "[", v.length, (i) => {
    const p = own(v, i) ?? {};
    if (p.get) put(out, "[Getter]");
    else add(p.value, out, path);
  }, "]");
}

function object(v, out, path) {
  const name = typeName(v), size = (n) => (name || "Object") + "(" + n + ") ";
  let n;
  if (v instanceof E) put(out, "[" + cut(data(v, "name") ?? (name || "Error"), maxBehind) + ": " + cut(data(v, "message") ?? "", maxBehind) + "]");
  else if (v instanceof D && (n = attempt(timeOf, v)) !== undefined) put(out, n === n ? iso(v) : "Invalid Date");
  else if (v instanceof RE && (n = attempt(source, v)) !== undefined) put(out, "/" + n + "/" + (attempt(flags, v) ?? ""));
  else if (v instanceof MapType && (n = attempt(mapSize, v)) !== undefined) {
    const at = [];
    eachOfMap(v, (value, key) => { if (at.length < maxText) at[at.length] = [key, value]; });
    list(out, size(n) + "{", at.length, (i) => { add(at[i][0], out, path); put(out, " => "); add(at[i][1], out, path); }, "}");
  } else if (v instanceof SetType && (n = attempt(setSize, v)) !== undefined) {
    const at = [];
    eachOfSet(v, (value) => { if (at.length < maxText) at[at.length] = value; });
    list(out, size(n) + "{", at.length, (i) => add(at[i], out, path), "}");
  } else if (isView(v)) {
    if (v.length === undefined) put(out, size(v.byteLength) + "{}");
    else { put(out, size(v.length)); elements(v, out, path); }
  } else if (v instanceof Buffer && (n = attempt(bytes, v)) !== undefined) put(out, size(n) + "{}");
  else if (isArray(v)) { if (name) put(out, size(v.length)); elements(v, out, path); }
  else { if (name) put(out, name + " "); members(v, out, path); }
}

// add shows v as a part of another value. Path has the objects that it is in.
function add(v, out, path) {
  switch (typeof v) {
  case "string": put(out, stringify(cut(v, maxText))); return;
  case "number": put(out, is(v, -0) ? "-0" : S(v)); return;
  case "bigint": put(out, v + "n"); return;
  case "function": put(out, attempt(functionText, v) ?? "[Function]"); return;
  case "object": break;
  default: put(out, S(v)); return;
  }
  if (v === null) { put(out, "null"); return; }
  for (let i = 0; i < path.length; i++) if (path[i] === v) { put(out, "[Circular]"); return; }
  if (path.length >= maxDepth) { put(out, isArray(v) ? "[Array]" : "[Object]"); return; }
  path[path.length] = v;
  const before = out.parts.length;
  try { object(v, out, path); } catch {
    out.parts.length = before;
    put(out, "[object that cannot be shown]");
  }
  path.length--;
}

// show shows v alone: a text as it is, an error with its stack and what led to it.
function show(v) {
  if (typeof v === "string") return cut(v, maxText);
  try {
    if (v instanceof E) {
      const out = { words: "", stacks: "", seen: [v] };
      behind(v, out);
      return cut(v.name, maxText) + ": " + cut(v.message, maxText) + (v.stack ? "\n" + cut(v.stack, maxText) : "") + out.stacks;
    }
    const out = start();
    add(v, out, []);
    return whole(out);
  } catch { return "[object that cannot be shown]"; }
}

// number shows v as %d and %i do.
const number = (v, whole) => {
  if (typeof v === "bigint") return v + "n";
  const n = typeof v === "object" || typeof v === "symbol" || typeof v === "function" ? NaN : N(v);
  return show(whole ? trunc(n) : n);
};

// text joins arguments, the first of which may be a format as of the Console Standard
// (https://console.spec.whatwg.org/#formatter).
function text(args) {
  let s = "", used = 0;
  if (args.length > 1 && typeof args[0] === "string") {
    const format = args[0];
    let from = 0;
    used = 1;
    for (let i; (i = indexOf(format, "%", from)) >= 0;) {
      const verb = format[i + 1];
      s += slice(format, from, i);
      from = i + 2;
      if (verb === "%") s += "%";
      else if (used >= args.length || !verb || indexOf("sdifjoOc", verb) < 0) s += "%" + (verb ?? "");
      else {
        const v = args[used++];
        if (verb === "d" || verb === "i" || verb === "f") s += number(v, verb === "i");
        else if (verb !== "c") s += show(v);
      }
    }
    s += slice(format, from);
  }
  for (let i = used; i < args.length && s.length <= maxText; i++) s += (i ? " " : "") + show(args[i]);
  return s;
}

let indent = "", groups = 0;

function print(level, s) {
  s = slice(s, 0, maxText);
  if (indent && indexOf(s, "\n") >= 0) s = join(split(s, "\n"), "\n" + indent);
  host("line", level, slice(indent + s, 0, maxText));
}

// labels is a table of what has labels; one more than are kept takes the place of all.
function labels() {
  let table = { __proto__: null }, n = 0;
  return {
    get: (name) => table[name],
    set: (name, v) => {
      if (table[name] === undefined && ++n > maxLabels) { table = { __proto__: null }; n = 1; }
      table[name] = v;
    },
    drop: (name) => { if (table[name] !== undefined) { n--; delete table[name]; } },
  };
}
const counts = labels(), timers = labels(), label = (v) => (v === undefined ? "default" : cut(show(v), maxBehind));

function took(name, rest) {
  const began = timers.get(name);
  if (began === undefined) print("warn", "Timer " + name + " was not started");
  else print("info", name + ": " + (now() - began) + " ms" + (rest.length ? " " + text(rest) : ""));
}

// table shows rows in columns, or what has none as it is.
function table(v, only) {
  if (v === null || typeof v !== "object" || isView(v)) return show(v);
  const names = [], rows = [["(index)"]], cell = (x) => { const out = start(); add(x, out, []); return whole(out); };
  const index = keys(v);
  for (let i = 0; i < index.length && i < maxLabels; i++) {
    const row = data(v, index[i]), cells = [index[i]], columns = row !== null && typeof row === "object" ? keys(row) : [];
    for (let k = 0; k < columns.length; k++) {
      let at = 0;
      while (at < names.length && names[at] !== columns[k]) at++;
      if (at === names.length) {
        if (at >= maxGroups || (isArray(only) && indexOf(S("\n" + join(only, "\n") + "\n"), "\n" + columns[k] + "\n") < 0)) continue;
        names[at] = rows[0][at + 1] = columns[k];
      }
      cells[at + 1] = cell(data(row, columns[k]));
    }
    if (!columns.length) cells.value = cell(row);
    rows[rows.length] = cells;
  }
  for (let i = 1; i < rows.length; i++) {
    if (rows[i].value === undefined) continue;
    rows[0][names.length + 1] = "value";
    rows[i][names.length + 1] = rows[i].value;
  }
  const widths = [];
  for (let i = 0; i < rows.length; i++) for (let k = 0; k < rows[0].length; k++) {
    const n = (rows[i][k] ?? "").length;
    if (!(widths[k] >= n)) widths[k] = n < maxBehind ? n : maxBehind;
  }
  let s = "";
  for (let i = 0; i < rows.length && s.length <= maxText; i++) {
    let last = 0;
    for (let k = 0; k < rows[0].length; k++) if (rows[i][k]) last = k;
    for (let k = 0; k <= last; k++) s += (k ? "  " : "") + (k < last ? padEnd(rows[i][k] ?? "", widths[k]) : rows[i][k]);
    if (i + 1 < rows.length) s += "\n";
  }
  return s;
}

return {
  print: (level, args) => print(level, text(args)), show, behind,
  assert: (ok, ...args) => { if (!ok) print("error", "Assertion failed" + (args.length ? ": " + text(args) : "")); },
  count: (v) => { const name = label(v), n = (counts.get(name) ?? 0) + 1; counts.set(name, n); print("info", name + ": " + n); },
  countReset: (v) => counts.drop(label(v)),
  dir: (v) => print("info", show(v)),
  group: (...args) => {
    if (args.length) print("info", text(args));
    if (groups < maxGroups) indent = repeat("  ", ++groups);
  },
  groupEnd: () => { if (groups) indent = repeat("  ", --groups); },
  table: (v, only) => { let s; try { s = table(v, only); } catch { s = show(v); } print("info", s); },
  time: (v) => timers.set(label(v), now()), timeLog: (v, ...rest) => took(label(v), rest),
  timeEnd: (v) => { took(label(v), []); timers.drop(label(v)); },
};
})
