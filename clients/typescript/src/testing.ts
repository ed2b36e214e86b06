/**
 * `@picloud/client/testing`: a node without a network, for tests of what uses a client. Give its `fetch` to createClient.
 *
 * It keeps published events, answers history, publishing and streams (resume, `latest`, reset) as a node does, and does what the
 * test tells it: break streams, refuse, be silent, answer endpoints. Time is that of the test: with fake timers of
 * the test runner nothing has to be waited for.
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
  const handlers = new Map<string, (request: FakeRequest) => Response | Promise<Response>>();

  const idOf = (n: number): string => epoch.toString(16).padStart(10, "0") + "." + n;
  const seqOf = (id: string): number => (id.startsWith(idOf(0).slice(0, 11)) ? Number(id.slice(11)) : NaN);
  const frameOf = ({ id, ...envelope }: FakeEvent): string => `id: ${id}\ndata: ${JSON.stringify(envelope)}\n\n`;
  const json = (body: unknown, status = 200): Response => new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });
  const problem = (status: number, { type = "refused", detail = "refused", retryAfter, topic }: FakeRefusal = {}): Response =>
    status === 204
      ? new Response(null, { status })
      : new Response(JSON.stringify({ type: "urn:picloud:problem:" + type, title: type, status, detail, topic }), {
          status,
          headers: { "Content-Type": "application/problem+json", ...(retryAfter !== undefined && { "Retry-After": "" + retryAfter }) },
        });

  /** startOf returns a filter for the events that `since` asks for; undefined where it is no beginning. */
  const startOf = (since: string): ((event: FakeEvent) => boolean) | undefined => {
    if (since === "all") return () => true;
    if (since === "latest") return ({ topic, id }) => !events.some((other) => other.topic === topic && seqOf(other.id) > seqOf(id));
    if (/^\w+\.\d+$/.test(since)) return ({ id }) => seqOf(id) > seqOf(since);
    const [, count, unit] = /^(\d+)([smhd])$/.exec(since) ?? [];
    const seconds = { s: 1, m: 60, h: 3600, d: 86_400 }[unit!];
    const from = seconds ? Date.now() - Number(count) * seconds * 1000 : Date.parse(since);
    return Number.isNaN(from) ? undefined : ({ published_at }) => Date.parse(published_at) >= from;
  };

  const publish = (topic: string, data: unknown): FakeEvent => {
    const event = { id: idOf(++seq), topic, data, published_at: new Date().toISOString(), source: "fake" };
    events.push(event);
    for (const stream of streams) if (stream.topics.includes(topic)) stream.send(frameOf(event));
    return event;
  };

  const subscribe = (request: FakeRequest, topics: string[], signal: AbortSignal | null | undefined): Response => {
    if (topics.length > 64) return problem(400, { type: "query-invalid", detail: topics.length + " topics, at most 64 fit on one stream" });
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

    const cursor = request.headers.get("Last-Event-ID");
    const after = cursor === null ? seq : seqOf(cursor);
    const foreign = Number.isNaN(after);
    const resume = foreign ? idOf(seq) : idOf(after);
    const latest = request.url.searchParams.getAll("latest");
    stream.send(`retry: ${retry}\n`);
    stream.frame("hello", { node: "fake", app: "fake", topics, heartbeat_sec: heartbeat, resume, newest: idOf(seq), time: new Date().toISOString(), resumed: cursor !== null && !foreign, lossless: false });
    if (foreign) stream.frame("reset", { reason: "foreign", position: resume });
    for (const topic of latest) {
      const newest = events.filter((event) => event.topic === topic).pop();
      if (!newest || seqOf(newest.id) > seqOf(resume)) continue;
      if (cursor === null) stream.send(frameOf(newest));
      else stream.send(`data: ${JSON.stringify(newest)}\n\nid: ${resume}\n\n`);
    }
    for (const event of events) if (topics.includes(event.topic) && seqOf(event.id) > seqOf(resume)) stream.send(frameOf(event));
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  };

  const answer = async (request: FakeRequest, signal: AbortSignal | null | undefined): Promise<Response> => {
    const { method, url, body } = request;
    const handler = handlers.get(method + " " + url.pathname);
    if (handler) return handler(request);
    const [, one] = /^\/v1\/apps\/[^/]+(?:\/topics\/([^/]+))?\/events$/.exec(url.pathname) ?? [, null];
    if (one === null) return problem(404, { type: "no-such-route", detail: "the fake server has no answer for " + url.pathname });
    const topics = one === undefined ? url.searchParams.getAll("topic") : [decodeURIComponent(one)];
    if (method === "GET" && request.headers.get("Accept") === "text/event-stream") return subscribe(request, topics, signal);
    if (method === "GET") {
      const since = url.searchParams.get("since") ?? "all";
      const from = startOf(since);
      if (/^\w+\.\d+$/.test(since) && Number.isNaN(seqOf(since))) return problem(410, { type: "position-foreign", detail: "of another history" });
      if (!from) return problem(400, { type: "query-invalid", detail: "since: use an id, a time, a duration such as 10m or 7d, all, or latest" });
      return json({ events: events.filter((event) => topics.includes(event.topic) && from(event)), next: null });
    }
    const drafts: { topic: string; data: unknown }[] = one === undefined ? JSON.parse(body) : [{ topic: topics[0], data: JSON.parse(body) }];
    const published = drafts.map(({ topic, data }) => {
      const { id, published_at } = publish(topic, data);
      return { id, topic, published_at, durability: "local" };
    });
    return json(one === undefined ? published : published[0], 201);
  };

  return {
    requests,
    publish,
    get streams() {
      return [...streams];
    },
    async fetch(input, init) {
      const sent = new Request(new URL(input instanceof Request ? input.url : input, "http://fake.test"), init);
      const request = { method: sent.method, url: new URL(sent.url), headers: sent.headers, body: await sent.text() };
      requests.push(request);
      while (gate) await Promise.race([gate, new Promise((_, reject) => init?.signal?.addEventListener("abort", reject))]);
      init?.signal?.throwIfAborted();
      if (unreachable) throw new TypeError("the fake server is away");
      return refusals.shift() ?? answer(request, init?.signal);
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
    },
    handle: (method, path, f) => void handlers.set(method + " " + path, f),
  };
}
