/**
 * `@picloud/client/testing`: a node without a network, for tests of what uses a client. Give its `fetch` to createClient.
 *
 * It keeps published events, answers publishing (`Idempotency-Key` too), history (page by page) and streams (resume, `latest`, reset)
 * as a node does, with the status and type of its refusals, and does what the test tells it: break streams, refuse, be silent,
 * answer endpoints. Time is that of the test: with fake timers of the test runner nothing has to be waited for.
 *
 * It is no second node. It has one app, whatever the name in the path, does not look at credentials, and has no registered topics.
 * Nothing is removed by retention, and a page of history may have more than 1 MiB. `GET …/events/{id}` and other routes are 404; HEAD and OPTIONS
 * are 405. Data is compared, and in a batch measured, as JavaScript writes it: `1.0` is `1`. Nesting has no limit, and durations of `since` are
 * of `d`, `h`, `m`, `s` and `ms`.
 *
 * @packageDocumentation
 */

/** An event that a fake server keeps. */
export interface FakeEvent {
  readonly id: string;
  readonly topic: string;
  readonly data: unknown;
  readonly published_at: string;
  readonly source: string;
}

/** A request that a fake server has got. */
export interface FakeRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
  /** The body as text; "" where there is none. */
  readonly body: string;
}

/** A stream that a client has open. */
export interface FakeStream {
  readonly request: FakeRequest;
  readonly topics: readonly string[];
  /** send writes text as it is, in one chunk. */
  send(text: string | Uint8Array): void;
  /** frame writes a frame with a name and data as JSON, without an id. */
  frame(event: string, data: unknown): void;
  /** end ends the stream as a node does; with an error, as a broken connection does. */
  end(error?: Error): void;
}

/** A refusal: the slug of a problem, and its other fields. */
export interface FakeRefusal {
  readonly type?: string;
  readonly detail?: string;
  readonly retryAfter?: number;
  /** The one of several topics that is refused. */
  readonly topic?: string;
}

/** How a fake server is made. */
export interface FakeServerOptions {
  /** Seconds between heartbeats that streams are told. None is sent by itself. */
  readonly heartbeat?: number;
  /** Milliseconds that streams are told to wait before they come back. */
  readonly retry?: number;
}

/** A node without a network. */
export interface FakeServer {
  readonly fetch: typeof fetch;
  /** All requests so far, oldest first. */
  readonly requests: readonly FakeRequest[];
  /** The streams that are open. */
  readonly streams: readonly FakeStream[];
  /** publish keeps an event and sends it to the streams that carry its topic. */
  publish(topic: string, data: unknown): FakeEvent;
  /** refuse answers the next request, or the next so many, with a status. */
  refuse(status: number, problem?: FakeRefusal, times?: number): void;
  /** away makes the server unreachable until back is called: streams break, requests fail. */
  away(): void;
  back(): void;
  /** hold lets requests wait for their answer until release is called. */
  hold(): void;
  release(): void;
  /** drop breaks the streams that are open. */
  drop(): void;
  /** forget begins another history: ids of the one before are foreign. */
  forget(): void;
  /** handle answers requests to a path, such as that of an endpoint. */
  handle(method: string, path: string, answer: (request: FakeRequest) => Response | Promise<Response>): void;
}

const maxData = 256 * 1024;
const maxBatchData = 1024 * 1024 + 512;
const maxBody = maxBatchData + 512 * 1024;
const day = 86_400_000;
const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: day };
const parameters = ["since", "after", "limit", "last_event_id", "latest", "lossless", "token"];
const position = /^(?!0{10})[0-9a-f]{10}\.(0|[1-9]\d*)$/;

/** A refusal on its way to the answer. */
class Refused extends Error {
  constructor(
    readonly status: number,
    readonly type: string,
    readonly detail: string,
  ) {
    super(detail);
  }
}

/** An event that is to be published, with its data as JSON. */
interface Draft {
  readonly topic: string;
  readonly data: string;
}

function bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}

function parse(text: string, type: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Refused(400, type, "" + error);
  }
}

/** checkTopic refuses names that are not valid; readers may name the topics of the system. */
function checkTopic(topic: string, reading: boolean): void {
  if (!/^\$?[\w./-]{1,128}$/.test(topic)) throw new Refused(422, "topic-name-invalid", "use 1 to 128 of A-Z a-z 0-9 . _ / -");
  if (topic[0] === "$" && !reading) throw new Refused(403, "topic-reserved", "choose a name that does not begin with '$'");
}

/** draftsOf reads the body of a batch. */
function draftsOf(body: string): Draft[] {
  const list = parse(body, "body-invalid") ?? [];
  if (!Array.isArray(list)) throw new Refused(400, "body-invalid", "use an array");
  return list.map((draft, i) => {
    const isObject = typeof draft === "object" && !Array.isArray(draft); // null is an object without fields
    const { topic, data, ...unknown } = draft ?? {};
    if (!isObject || typeof (topic ?? "") !== "string" || Object.keys(unknown).length)
      throw new Refused(400, "body-invalid", `event ${i}: use an object with topic and data`);
    if (data === undefined) throw new Refused(422, "batch-invalid", `event ${i} has no data`);
    return { topic: topic ?? "", data: JSON.stringify(data) };
  });
}

/** timeOf returns the time that `since` names; NaN where it names none. */
function timeOf(since: string): number {
  if (since === "all") return -Infinity;
  if (/^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(since)) return Date.parse(since);
  if (!/^(\d+d|(\d+(\.\d+)?(h|m|s|ms))+)$/.test(since)) return NaN;
  return [...since.matchAll(/([\d.]+)([a-z]+)/g)].reduce((time, [, n, unit]) => time - Number(n) * units[unit!]!, Date.now());
}

/** fakeServer returns a node without a network. */
export function fakeServer({ heartbeat = 30, retry = 1000 }: FakeServerOptions = {}): FakeServer {
  let epoch = 1;
  let seq = 0;
  let events: FakeEvent[] = [];
  let unreachable = false;
  let gate: Promise<void> | undefined;
  let open = (): void => {};
  const requests: FakeRequest[] = [];
  const streams = new Set<FakeStream>();
  const refusals: Response[] = [];
  const answers = new Map<string, { print: string; at: number; published: object[] }>(); // by idempotency key
  const handlers = new Map<string, (request: FakeRequest) => Response | Promise<Response>>();

  const idOf = (n: number): string => epoch.toString(16).padStart(10, "0") + "." + n;
  /** seqOf returns the sequence of an id; NaN where it is of another history, or of the future. */
  const seqOf = (id: string): number => {
    const n = position.test(id) && id.startsWith(idOf(0).slice(0, 11)) ? Number(id.slice(11)) : NaN;
    return n <= seq ? n : NaN;
  };
  const frameOf = ({ id, ...envelope }: FakeEvent): string => `id: ${id}\ndata: ${JSON.stringify(envelope)}\n\n`;
  const json = (body: unknown, status = 200): Response => new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });
  const problem = (status: number, { type = "refused", detail = "refused", retryAfter, topic }: FakeRefusal = {}): Response =>
    status === 204
      ? new Response(null, { status })
      : new Response(JSON.stringify({ type: "urn:picloud:problem:" + type, title: type, status, detail, topic, retry_after_sec: retryAfter }), {
          status,
          headers: { "Content-Type": "application/problem+json", ...(retryAfter !== undefined && { "Retry-After": "" + retryAfter }) },
        });

  /** startOf returns the sequence after which `since` begins; NaN where it is an id that is foreign. */
  const startOf = (since: string, topics: readonly string[]): number => {
    if (position.test(since)) return seqOf(since);
    const from = timeOf(since);
    if (Number.isNaN(from)) throw new Refused(400, "query-invalid", "since: use an id, a time, a duration such as 10m or 7d, all, or latest");
    const first = events.find(({ topic, published_at }) => topics.includes(topic) && Date.parse(published_at) >= from);
    return first ? seqOf(first.id) - 1 : seq;
  };
  const newestOf = (topic: string): FakeEvent | undefined => events.filter((event) => event.topic === topic).pop();

  const publish = (topic: string, data: unknown): FakeEvent => {
    const event = { id: idOf(++seq), topic, data, published_at: new Date().toISOString().replace("Z", "000Z"), source: "fake" };
    events.push(event);
    for (const stream of streams) if (stream.topics.includes(topic)) stream.send(frameOf(event));
    return event;
  };

  const subscribe = (request: FakeRequest, topics: string[], signal: AbortSignal | null | undefined): Response => {
    const query = request.url.searchParams;
    const since = query.get("since");
    const named = query.get("last_event_id") || (position.test(since ?? "") ? since : null);
    if (named && !position.test(named)) throw new Refused(400, "position-invalid", "send an id exactly as an event carried it");
    const cursor = request.headers.get("Last-Event-ID") || named;
    const latest = since === "latest" && !cursor ? topics : [...new Set(query.getAll("latest"))];
    const lossless = query.get("lossless") === "1";
    if (!latest.every((topic) => topics.includes(topic))) throw new Refused(400, "query-invalid", "latest: name topics of this stream");
    const after = cursor ? seqOf(cursor) : since && since !== "latest" ? startOf(since, topics) : seq;
    const encoder = new TextEncoder();
    let out!: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (out = controller), cancel: () => void streams.delete(stream) });
    const stream: FakeStream = {
      request,
      topics,
      send: (text) => streams.has(stream) && out.enqueue(typeof text === "string" ? encoder.encode(text) : text),
      frame: (event, data) => stream.send(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`),
      end(error) {
        if (!streams.delete(stream)) return;
        if (error) out.error(error);
        else out.close();
      },
    };
    streams.add(stream);
    signal?.addEventListener("abort", () => stream.end(signal.reason));

    const foreign = Number.isNaN(after);
    const resume = foreign ? idOf(seq) : idOf(after);
    stream.send(`retry: ${retry}\n`);
    stream.frame("hello", { node: "fake", app: "fake", topics, heartbeat_sec: heartbeat, resume, newest: idOf(seq), time: new Date().toISOString(), resumed: cursor !== null && !foreign, lossless });
    if (foreign) stream.frame("reset", { reason: "foreign", position: resume });
    for (const topic of latest) {
      const newest = newestOf(topic);
      if (!newest || seqOf(newest.id) > seqOf(resume)) continue;
      if (cursor === null) stream.send(frameOf(newest));
      else stream.send(`data: ${JSON.stringify(newest)}\n\nid: ${resume}\n\n`);
    }
    for (const event of events) if (topics.includes(event.topic) && seqOf(event.id) > seqOf(resume)) stream.send(frameOf(event));
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  };

  const history = ({ url }: FakeRequest, topics: readonly string[]): Response => {
    const query = url.searchParams;
    const limit = query.get("limit") ?? "100";
    const after = query.get("after");
    const since = query.get("since");
    if (!/^\d+$/.test(limit) || Number(limit) < 1 || Number(limit) > 1000) throw new Refused(400, "query-invalid", "limit: use 1 to 1000");
    if (after !== null && since !== null) throw new Refused(400, "query-invalid", "use after or since, not both");
    if (after !== null && !position.test(after)) throw new Refused(400, "position-invalid", "send an id exactly as an event carried it");
    const isLatest = since === "latest";
    const start = isLatest ? 0 : startOf(after ?? since ?? "all", topics);
    if (Number.isNaN(start)) throw new Refused(410, "position-foreign", "begin without a position");
    const found = events.filter((event) => topics.includes(event.topic) && (isLatest ? event === newestOf(event.topic) : seqOf(event.id) > start));
    const page = isLatest ? found : found.slice(0, Number(limit));
    const next = new URLSearchParams({ after: page[page.length - 1]?.id ?? "", ...(query.has("limit") && { limit }) });
    if (query.has("topic")) for (const topic of topics) next.append("topic", topic);
    return json({ events: page.map((event) => ({ ...event, durability: "local" })), next: found.length > page.length ? url.pathname + "?" + next : null });
  };

  /** take publishes what a request asks for: one event where it has a topic, otherwise a batch. */
  const take = ({ headers, body }: FakeRequest, topic: string | undefined): Response => {
    if (bytes(body) > maxBody) throw new Refused(413, "body-too-large", "the limit is " + maxBody);
    if (!/^application\/json\s*(;\s*[\w-]+=[^;]+)*$/i.test(headers.get("Content-Type") ?? ""))
      throw new Refused(415, "content-type", "Send JSON with 'Content-Type: application/json'.");
    let drafts = topic === undefined ? draftsOf(body) : [{ topic, data: body }];
    const key = headers.get("Idempotency-Key");
    if (key !== null && !/^[!-~]{1,255}$/.test(key)) throw new Refused(400, "idempotency-key-invalid", "use 1 to 255 visible ASCII characters");
    if (drafts.length < 1 || drafts.length > 1000) throw new Refused(422, "batch-invalid", drafts.length + " events: send 1 to 1000");
    const sizes = drafts.map(({ data }) => bytes(data));
    if (sizes.some((size) => size > maxData) || sizes.reduce((sum, size) => sum + size) > maxBatchData)
      throw new Refused(413, "data-too-large", `the limit of an event is ${maxData} bytes, that of a batch ${maxBatchData}`);
    for (const { topic } of drafts) checkTopic(topic, false);
    drafts = drafts.map(({ topic, data }) => ({ topic, data: JSON.stringify(parse(data, "data-invalid")) }));

    const print = JSON.stringify(drafts);
    const reply = (published: object[]): Response => json(topic === undefined ? published : published[0], 201);
    const known = key === null ? undefined : answers.get(key);
    if (known && Date.now() - known.at < day) {
      if (known.print !== print) throw new Refused(422, "idempotency-key-reused", "repeat a key only with the same topic and data");
      return reply(known.published);
    }
    const published = drafts.map(({ topic, data }) => {
      const { id, published_at } = publish(topic, JSON.parse(data));
      return { id, topic, published_at, durability: "local" };
    });
    if (key !== null) answers.set(key, { print, at: Date.now(), published });
    return reply(published);
  };

  const answer = async (request: FakeRequest, signal: AbortSignal | null | undefined): Promise<Response> => {
    const { method, url, headers } = request;
    const handler = handlers.get(method + " " + url.pathname);
    if (handler) return handler(request);
    const [, one] = /^\/v1\/apps\/[^/]+(?:\/topics\/([^/]+))?\/events$/.exec(url.pathname) ?? [, null];
    if (one === null) throw new Refused(404, "no-such-route", "the fake server has no answer for " + url.pathname);
    let topic: string | undefined;
    try {
      topic = one && decodeURIComponent(one);
    } catch {
      throw new Refused(400, "path-invalid", one + " is not percent-encoded correctly");
    }
    if (method !== "GET" && method !== "POST") throw new Refused(405, "method-not-allowed", "use GET or POST");
    for (const name of url.searchParams.keys())
      if (method === "POST" || !(parameters.includes(name) || (name === "topic" && topic === undefined)))
        throw new Refused(400, "query-invalid", `a parameter "${name}" is not known here`);
    if (method === "POST") return take(request, topic);
    const topics = topic === undefined ? [...new Set(url.searchParams.getAll("topic"))] : [topic];
    if (topics.length < 1 || topics.length > 64) throw new Refused(400, "query-invalid", topics.length + " topics, 1 to 64 fit on one stream");
    for (const topic of topics) checkTopic(topic, true);
    return /text\/event-stream/i.test(headers.get("Accept") ?? "") ? subscribe(request, topics, signal) : history(request, topics);
  };

  return {
    requests,
    publish,
    get streams() {
      return [...streams];
    },
    async fetch(input, init) {
      const sent = new Request(input instanceof Request ? input : new URL(input, "http://fake.test"), init);
      const signal = init?.signal ?? (input instanceof Request ? input.signal : undefined);
      const request = { method: sent.method, url: new URL(sent.url), headers: sent.headers, body: await sent.text() };
      requests.push(request);
      while (gate) await Promise.race([gate, new Promise((_, reject) => signal?.addEventListener("abort", reject))]);
      signal?.throwIfAborted();
      if (unreachable) throw new TypeError("the fake server is away");
      return (
        refusals.shift() ??
        answer(request, signal).catch((error) => {
          if (error instanceof Refused) return problem(error.status, error);
          throw error;
        })
      );
    },
    refuse(status, what, times = 1) {
      for (let i = 0; i < times; i++) refusals.push(problem(status, what));
    },
    away() {
      unreachable = true;
      this.drop();
    },
    back() {
      unreachable = false;
    },
    hold() {
      gate ??= new Promise((resolve) => (open = resolve));
    },
    release() {
      gate = undefined;
      open();
    },
    drop() {
      for (const stream of [...streams]) stream.end(new TypeError("the connection broke"));
    },
    forget() {
      epoch++;
      seq = 0;
      events = [];
      answers.clear();
    },
    handle: (method, path, f) => void handlers.set(method + " " + path, f),
  };
}
