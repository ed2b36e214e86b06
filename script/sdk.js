// The SDK of PiCloud: what `import … from "picloud"` gives a script.
// It keeps its own references to what it needs of the language, so that a script
// that changes Array.prototype or Promise harms itself alone.

const { host, run, log: lines } = globalThis.__run;
delete globalThis.__run;

const { parse, stringify } = JSON;
const { freeze, keys } = Object;
const P = Promise, E = Error, S = String, U8 = Uint8Array;
const M = Map, mapGet = uncurry(Map.prototype.get), mapSet = uncurry(Map.prototype.set), mapDelete = uncurry(Map.prototype.delete);
const { isFinite, isInteger } = Number, isArray = Array.isArray, isView = ArrayBuffer.isView, AB = ArrayBuffer, DateOf = Date, now = Date.now;

function uncurry(f) { return f.call.bind(f); }

export const version = "0.4.0";

// ---- errors ----

/** What a call of the SDK fails with. `type` is stable, `code` its class. */
export class PiCloudError extends E {
  constructor(e, call) {
    super(e.detail ? e.title + ": " + e.detail : e.title);
    this.name = new.target.name;
    this.code = e.code; this.type = e.type; this.call = call;
  }
}
export class InvalidError extends PiCloudError {}
export class ForbiddenError extends PiCloudError {}
export class NotFoundError extends PiCloudError {}
export class ConflictError extends PiCloudError {}
export class PreconditionError extends PiCloudError {}
export class TooLargeError extends PiCloudError {}
export class UnavailableError extends PiCloudError {}
export class LimitError extends PiCloudError {}
export class UnauthenticatedError extends PiCloudError {}

const classes = freeze({
  __proto__: null,
  "invalid": InvalidError, "unprocessable": InvalidError, "unsupported-type": InvalidError,
  "unauthenticated": UnauthenticatedError, "forbidden": ForbiddenError, "not-found": NotFoundError, "gone": NotFoundError,
  "conflict": ConflictError, "precondition": PreconditionError, "too-large": TooLargeError,
  "unavailable": UnavailableError, "no-space": UnavailableError, "too-many": LimitError, "limit": LimitError,
});

// ---- calls ----

const waiting = new M();
let last = 0;

function call(module, method, args) {
  const { stack } = new E(); // where the call was made
  return new P((resolve, reject) => {
    const name = module + "." + method;
    if (run.budget-- <= 0) throw new LimitError({ code: "limit", type: "too-many-calls", title: "The run may not call the SDK any more often" }, name);
    let text;
    try { text = stringify(args); } catch (e) {
      throw new InvalidError({ code: "invalid", type: "argument-invalid", title: "An argument is not JSON", detail: S(e && e.message) }, name);
    }
    const id = ++last;
    if (!host("call", id, module, method, text)) {
      throw new TooLargeError({ code: "too-large", type: "arguments-too-large", title: "Too much is handed to the SDK at once", detail: "Use at most 2 MiB in one call, and 8 MiB in calls that are not awaited." }, name);
    }
    mapSet(waiting, id, { resolve, reject, name, stack });
  });
}

run.settle = (id, value, error) => {
  const w = mapGet(waiting, id);
  if (!w) return;
  mapDelete(waiting, id);
  if (error === undefined) { w.resolve(value === "" ? undefined : parse(value)); return; }
  const e = parse(error);
  const err = new (classes[e.code] || PiCloudError)(e, w.name);
  err.stack = w.stack;
  w.reject(err);
};

// ---- bytes ----

function bytesOf(v) {
  if (v instanceof AB) return new U8(v);
  if (isView(v)) return new U8(v.buffer, v.byteOffset, v.byteLength);
  return undefined;
}

const toBase64 = uncurry(U8.prototype.toBase64), decode = U8.fromBase64;
const fromBase64 = (s) => decode(s);

// ---- modules ----

function options(o, known, name) {
  if (o === undefined) return {};
  if (o === null || typeof o !== "object") throw new TypeError(name + ": the options have to be an object");
  for (const k of keys(o)) {
    if (!known.includes(k)) throw new TypeError(name + ": there is no option '" + k + "'; there are " + known.join(", "));
    // What comes of a slip must not pass for what was not said.
    const v = o[k];
    if (k === "version" && v !== undefined && !(isInteger(v) && v > 0)) throw new TypeError(name + ": version has to be one that was read; create: true asks for there to be nothing yet");
    if ((typeof v === "number" && !isFinite(v)) || (k === "idempotencyKey" && v === "")) throw new TypeError(name + ": " + k + " is " + (v || "empty"));
  }
  return o;
}

function entryOf(e) {
  if (!e) return undefined;
  return freeze({
    key: e.key, value: e.binary ? fromBase64(e.value) : e.value, version: e.version,
    updatedAt: new DateOf(e.updated_at), expiresAt: e.expires_at ? new DateOf(e.expires_at) : undefined,
  });
}

/** Key-value pairs of the app. */
export const kv = freeze({
  async get(key) { const e = await call("kv", "get", [key]); return entryOf(e)?.value; },
  async entry(key) { return entryOf(await call("kv", "get", [key])); },
  async set(key, value, opts) {
    const { ttl, version, create } = options(opts, ["ttl", "version", "create"], "kv.set");
    if (value === undefined) throw new TypeError("kv.set: the value is undefined; use kv.delete to remove a key");
    if (typeof value === "function" || (typeof value === "number" && !isFinite(value))) throw new TypeError("kv.set: the value is not JSON");
    const bytes = bytesOf(value);
    return call("kv", "set", [key, bytes ? toBase64(bytes) : value, { ttl, version, create, binary: !!bytes }]);
  },
  async delete(key, opts) {
    const { version } = options(opts, ["version"], "kv.delete");
    return call("kv", "delete", [key, { version }]);
  },
  async increment(key, by = 1, opts) {
    const { ttl } = options(opts, ["ttl"], "kv.increment");
    return call("kv", "increment", [key, by, { ttl }]);
  },
  async list(opts) {
    const { prefix, after, limit } = options(opts, ["prefix", "after", "limit"], "kv.list");
    const page = await call("kv", "list", [{ prefix, after, limit }]);
    return freeze({ entries: page.entries.map(entryOf), next: page.next });
  },
});

function docOf(d) {
  if (!d) return undefined;
  return freeze({ id: d.id, body: d.body, version: d.version, createdAt: new DateOf(d.created_at), updatedAt: new DateOf(d.updated_at) });
}

/** Documents of the app, in collections. */
export const docs = freeze({
  async get(collection, id) { return docOf(await call("docs", "get", [collection, id])); },
  async create(collection, body) { return docOf(await call("docs", "put", [collection, "", body, {}])); },
  async put(collection, id, body, opts) {
    const { version, create } = options(opts, ["version", "create"], "docs.put");
    return docOf(await call("docs", "put", [collection, named(id, "docs.put"), body, { version, create }]));
  },
  async merge(collection, id, patch, opts) {
    const { version } = options(opts, ["version"], "docs.merge");
    return docOf(await call("docs", "put", [collection, named(id, "docs.merge"), patch, { version, merge: true }]));
  },
  async delete(collection, id, opts) {
    const { version } = options(opts, ["version"], "docs.delete");
    return call("docs", "delete", [collection, id, { version }]);
  },
  async find(collection, query) {
    const { where, sort, descending, after, limit } = options(query, ["where", "sort", "descending", "after", "limit"], "docs.find");
    for (const k of keys(where ?? {})) if (where[k] === undefined) throw new TypeError("docs.find: where." + k + " is undefined");
    const page = await call("docs", "find", [collection, { where, sort, descending, after, limit }]);
    return freeze({ documents: page.documents.map(docOf), next: page.next });
  },
});

function named(id, name) {
  if (typeof id !== "string" || id === "") throw new TypeError(name + ": the id has to be a text; docs.create makes one up");
  return id;
}

function fileOf(f) {
  if (!f) return undefined;
  return freeze({
    path: f.path, type: f.type, size: f.size, sha256: f.sha256, version: f.version,
    createdAt: new DateOf(f.created_at), updatedAt: new DateOf(f.updated_at),
  });
}

/** Files of the app. */
export const files = freeze({
  async stat(path) { return fileOf(await call("files", "stat", [path])); },
  async read(path, opts) {
    const { offset, length } = options(opts, ["offset", "length"], "files.read");
    const b = await call("files", "read", [path, { offset, length }]);
    return b === null ? undefined : fromBase64(b);
  },
  async text(path) { return (await call("files", "read", [path, { text: true }])) ?? undefined; },
  async write(path, data, opts) {
    const { type, version, create } = options(opts, ["type", "version", "create"], "files.write");
    if (typeof data !== "string" && !bytesOf(data)) throw new TypeError("files.write: the content has to be text or bytes; use JSON.stringify");
    return fileOf(await call("files", "write", [path, ...material(data), { type, version, create }]));
  },
  async delete(path, opts) {
    const { version } = options(opts, ["version"], "files.delete");
    return call("files", "delete", [path, { version }]);
  },
  async list(opts) {
    const { prefix, after, limit } = options(opts, ["prefix", "after", "limit"], "files.list");
    const page = await call("files", "list", [{ prefix, after, limit }]);
    return freeze({ files: page.files.map(fileOf), next: page.next });
  },
});

/** Events. */
export const pubsub = freeze({
  async publish(topic, data, opts) {
    const { idempotencyKey } = options(opts, ["idempotencyKey"], "pubsub.publish");
    if (data === undefined) data = null;
    return call("pubsub", "publish", [topic, data, { idempotency_key: idempotencyKey }]);
  },
  async subscriberToken(topics, ttl) { return call("pubsub", "subscriberToken", [isArray(topics) ? topics : [topics], ttl]); },
});

/** What only scripts of the app may read. */
export const secrets = freeze({
  async get(name) { return (await call("secrets", "get", [name])) ?? undefined; },
});

function sensorOf(s) {
  return freeze({
    name: s.name, topic: s.topic, driver: s.driver, place: s.place, simulated: s.simulated,
    values: s.values && freeze(s.values), readAt: s.read_at ? new DateOf(s.read_at) : null, failed: s.failed,
    fault: s.fault ?? null, faultSince: s.fault_since ? new DateOf(s.fault_since) : null,
  });
}

/** The board: how it is, and the pins and sensors that the node's configuration gives to the app. What of its health is null is not known. */
export const hw = freeze({
  async health() {
    const h = await call("hw", "health", []);
    return freeze({
      at: new DateOf(h.at), model: h.model, simulated: h.simulated, uptime: h.uptime_seconds, celsius: h.celsius,
      undervoltage: h.undervoltage, undervoltageSeen: h.undervoltage_seen, throttled: h.throttled, throttledSeen: h.throttled_seen,
      cpu: h.cpu, load: h.load, memoryTotal: h.memory_total, memoryAvailable: h.memory_available,
      diskTotal: h.disk_total, diskFree: h.disk_free, wear: h.wear, clockSynced: h.clock_synced,
    });
  },
  async pins() { return call("hw", "pins", []); },
  async read(name) { return call("hw", "read", [name]); },
  async set(name, on) { return call("hw", "set", [name, on]); },
  async pulse(name, ms, on = true) { return call("hw", "pulse", [name, ms, on]); },
  async sensors() { return (await call("hw", "sensors", [])).map(sensorOf); },
  async sensor(name) { return sensorOf(await call("hw", "sensor", [name])); },
});

/** Requests to the hosts that the node's operator allows. */
export const http = freeze({
  async fetch(url, opts) {
    const { method = "GET", headers, body, timeout } = options(opts, ["method", "headers", "body", "timeout"], "http.fetch");
    const bytes = bytesOf(body);
    const r = await call("http", "fetch", [S(url), { method, headers, body: bytes ? toBase64(bytes) : body, binary: !!bytes, timeout }]);
    return freeze({
      status: r.status, ok: r.status >= 200 && r.status < 300, headers: freeze(r.headers),
      text: r.binary ? undefined : r.body, bytes: () => (r.binary ? fromBase64(r.body) : undefined), json: () => parse(r.body),
    });
  },
});

/** Lines for whoever looks at the runs of this script. */
export const log = lines;

/** Time. */
export const time = freeze({
  now: () => now(),
  async sleep(ms) { return call("time", "sleep", [ms]); },
});

/** Random bytes, digests and signatures. Text goes in as UTF-8; bytes come out as hex, or as base64 when asked for. */
export const crypto = freeze({
  async randomBytes(n) { return fromBase64(await call("crypto", "random", [n])); },
  async randomUUID() { return call("crypto", "uuid", []); },
  async hash(algorithm, data, encoding = "hex") { return call("crypto", "hash", [algorithm, ...material(data), encoding]); },
  async hmac(algorithm, key, data, encoding = "hex") { return call("crypto", "hmac", [algorithm, ...material(key), ...material(data), encoding]); },
});

function material(v) {
  const b = bytesOf(v);
  return b ? [toBase64(b), true] : [S(v), false];
}

/** What this run is about. */
export let ctx = run.ctx;
run.started = () => { ctx = run.ctx; };

/** Refuses whoever asks an endpoint without saying who they are; returns who it is. */
export function requireCaller() {
  if (ctx.caller) return ctx.caller;
  throw new UnauthenticatedError({ code: "unauthenticated", type: "unauthenticated", title: "The caller has to say who they are" }, "requireCaller");
}

// ---- responses of endpoints ----

// Those that were made here: data that looks like one is data.
const responses = new WeakSet(), addTo = uncurry(WeakSet.prototype.add), has = uncurry(WeakSet.prototype.has);
run.isResponse = (v) => has(responses, v);

function answer(encoding, body, init, kind) {
  const { status = 200, headers } = options(init, ["status", "headers"], "response");
  const r = freeze({ picloud_response: 1, status, encoding, body, headers: freeze({ ...(kind ? { "content-type": kind } : {}), ...headers }) });
  addTo(responses, r);
  return r;
}

/** What an endpoint answers. A handler that returns anything else answers with it as JSON. */
export const response = freeze({
  json: (value, init) => answer("json", value === undefined ? null : value, init),
  text: (text, init) => answer("text", S(text), init),
  html: (text, init) => answer("text", S(text), init, "text/html; charset=utf-8"),
  bytes: (bytes, init) => {
    const b = bytesOf(bytes);
    if (!b) throw new TypeError("response.bytes: the body has to be bytes; use response.text");
    return answer("base64", toBase64(b), init);
  },
  empty: (status = 204) => answer("none", null, { status }),
  redirect: (url, status = 302) => answer("none", null, { status, headers: { location: S(url) } }),
});
