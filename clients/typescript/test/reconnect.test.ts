import { expect, test, vi } from "vitest";
import { AuthError, PicloudError, StatusError, type TokenReason } from "../src/index.js";
import { fake, page, pass, turns } from "./fake.js";

/** dataOf collects the data of a topic. */
function collect(client: ReturnType<typeof fake>["client"], name = "t"): unknown[] {
  const got: unknown[] = [];
  client.topic(name).on("event", (event) => got.push(event.data));
  return got;
}

const jwt = (iat: number, exp: number, n: number): string => ["e30", Buffer.from(JSON.stringify({ iat, exp })).toString("base64url"), n].join(".");

// CL-3
test("a stream that breaks comes back after what `retry:` says, with the cursor", async () => {
  const { server, client, log } = fake({}, { retry: 1700 });
  const got = collect(client);
  await turns();
  server.publish("t", 1);
  await turns();
  const cursor = client.cursor;
  server.drop();
  await turns();
  expect(client.state).toMatchObject({ name: "waiting", stale: true, attempt: 1, retryAt: Date.now() + 1700, error: { type: "network" } });
  server.publish("t", 2);
  await pass(1699);
  expect(client.state.name).toBe("waiting");
  await pass(1);
  expect(client.state).toMatchObject({ name: "open", stale: false });
  expect(got).toEqual([1, 2]);
  expect(server.requests.map((r) => r.headers.get("Last-Event-ID"))).toEqual([null, cursor]);
  expect(log).toEqual(["state:connecting", "state:open", "open", "state:waiting", "error:network", "state:connecting", "state:open", "open", "resumed"]);
});

test("a node that is away is asked after 1, 2, 4, 8, 16, 30, 30 s", async () => {
  const { server, client } = fake();
  server.away();
  collect(client);
  await turns();
  const waits: number[] = [];
  for (let i = 0; i < 7; i++) {
    waits.push(client.state.retryAt! - Date.now());
    await pass(waits.at(-1)!);
  }
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  server.back();
  await pass(30_000);
  expect(client.state).toMatchObject({ name: "open" });
});

test("attempts count on while streams live less than 10 s, and from 0 after", async () => {
  const { server, client } = fake({}, { retry: 1000 });
  collect(client);
  await turns();
  const wait = async (): Promise<number> => {
    server.drop();
    await turns();
    const ms = client.state.retryAt! - Date.now();
    await pass(ms);
    return ms;
  };
  expect([await wait(), await wait(), await wait()]).toEqual([1000, 2000, 4000]);
  await pass(10_000);
  expect(await wait()).toBe(1000);
});

test("Retry-After is honoured, and spread", async () => {
  const { server, client } = fake();
  server.refuse(503, { type: "busy", retryAfter: 40 });
  collect(client);
  await turns();
  expect(client.state).toMatchObject({ name: "waiting", retryAt: Date.now() + 41_000, error: { status: 503, type: "busy", retryAfter: 40, fatal: false } });
  await pass(41_000);
  expect(client.state.name).toBe("open");
});

test("Retry-After may be a time, as proxies write it", async () => {
  const { client } = fake({ fetch: async () => new Response("", { status: 503, headers: { "Retry-After": new Date(Date.now() + 40_000).toUTCString() } }) });
  collect(client);
  await turns();
  expect(client.state.error!.retryAfter).toBeGreaterThan(38);
  expect(client.state.error!.retryAfter).toBeLessThanOrEqual(40);
});

// CL-3
test("the page of a portal in place of a stream says so, and is asked again", async () => {
  let portal = true;
  const { server, client, log } = fake({
    fetch: (url, init) => (portal ? Promise.resolve(new Response("<p>", { headers: { "Content-Type": "text/html" } })) : server.fetch(url, init)),
  });
  collect(client);
  await turns();
  expect(client.state).toMatchObject({ name: "waiting", error: { name: "StreamError", type: "no-node", fatal: false } });
  portal = false;
  await pass(1000);
  expect(log).toEqual(["state:connecting", "state:waiting", "error:no-node", "state:connecting", "state:open", "open"]);
});

test.each([
  ["text/event-stream", true],
  ["text/event-stream; charset=utf-8", true],
  ["text/html; was=text/event-stream", false],
  [null, false],
])("an answer of the type %s is a stream: %j", async (type, is) => {
  const { server, client } = fake({
    async fetch(...request) {
      const { body } = await server.fetch(...request);
      return new Response(body, type ? { headers: { "Content-Type": type } } : {});
    },
  });
  collect(client);
  await turns();
  expect(client.state.error?.type).toBe(is ? undefined : "no-node");
  expect(client.state.name).toBe(is ? "open" : "waiting");
});

test.each(["event: hello\ndata: null\n\n", "event: hello\ndata: {\n\n", "data: 1\n\n"])("a stream that begins with %j is none of a node", async (text) => {
  const { client } = fake({ fetch: async () => new Response(text, { headers: { "Content-Type": "text/event-stream" } }) });
  collect(client);
  await turns();
  expect(client.state).toMatchObject({ name: "waiting", error: { name: "StreamError", type: "no-node" } });
});

// RT-6: proxies keep a connection that the node has ended.
test("`bye` ends a stream that nothing else ends", async () => {
  const { server, client, log } = fake();
  const got = collect(client);
  await turns();
  server.streams[0]!.frame("bye", { reason: "shutdown" });
  await turns();
  expect(server.streams).toEqual([]);
  expect(client.state).toMatchObject({ name: "waiting", error: { detail: "the node has ended the stream: shutdown" } });
  server.publish("t", 1);
  await pass(1000);
  expect(got).toEqual([1]);
  expect(log).toContain("bye");
});

test.each(["", "message"])("an event of the name %j is one of a topic, as in EventSource", async (name) => {
  const { server, client } = fake();
  const got = collect(client);
  await turns();
  const { id } = server.publish("t", 1);
  server.streams[0]!.send(`event: ${name}\nid: ${id.replace(/\d+$/, "7")}\ndata: {"topic":"t","data":2,"published_at":"2026-01-01T00:00:00Z"}\n\n`);
  await turns();
  expect(got).toEqual([1, 2]);
});

test.each([408, 429, 500, 502, 503, 507])("%i is tried again", async (status) => {
  const { server, client } = fake();
  server.refuse(status);
  collect(client);
  await turns();
  expect(client.state).toMatchObject({ name: "waiting", error: { status, fatal: false } });
});

test.each([204, 400, 403, 404, 405, 410, 421, 422])("%i ends the client with a typed error, and a new topic begins anew", async (status) => {
  const { server, client } = fake();
  server.refuse(status, { type: "topic-not-found", detail: "no such topic" });
  const topic = client.topic("t");
  const loop = (async () => {
    for await (const _ of topic) expect.unreachable();
  })();
  await expect(loop).rejects.toThrow(StatusError);
  await expect(topic.ready).rejects.toMatchObject({ status, fatal: true });
  expect(client.state).toMatchObject({ name: "stopped", stale: true, error: { status } });
  await pass(120_000);
  expect(server.requests).toHaveLength(1);
  collect(client);
  await turns();
  expect(client.state.name).toBe("open");
});

test("silence for 2.5 heartbeats is the end of a stream; comments are no silence", async () => {
  const { server, client } = fake({}, { heartbeat: 10 });
  collect(client);
  await turns();
  for (let i = 0; i < 10; i++) {
    await pass(10_000);
    server.streams[0]!.send(": heartbeat\n\n");
    await turns();
  }
  expect(client.state).toMatchObject({ name: "open" });
  await pass(24_999);
  expect(client.state.name).toBe("open");
  await pass(1);
  expect(client.state).toMatchObject({ name: "waiting", error: { type: "timeout" } });
  await pass(1000);
  expect(client.state.name).toBe("open");
});

test("a node that does not answer in 20 s is asked again", async () => {
  const { server, client } = fake();
  server.hold();
  collect(client);
  await turns();
  await pass(20_000);
  expect(client.state).toMatchObject({ name: "waiting", error: { type: "timeout" } });
  server.release();
  await pass(1000);
  expect(client.state.name).toBe("open");
  expect(server.streams).toHaveLength(1);
});

test("what is no stream of a node is tried again; a fetch that does not stream is not", async () => {
  const answers = ["text/html", "text/event-stream"].map((type) => new Response("data: x\n\n", { headers: { "Content-Type": type } }));
  const { client } = fake({ fetch: async () => answers.shift() ?? ({ ok: true, status: 200, body: null } as Response) });
  const topic = client.topic("t");
  await turns();
  expect(client.state).toMatchObject({ name: "waiting", error: { type: "no-node", fatal: false } });
  await pass(1000);
  expect(client.state).toMatchObject({ name: "waiting", error: { type: "no-node", fatal: false } });
  await pass(2000);
  await expect(topic.ready).rejects.toMatchObject({ type: "stream", detail: expect.stringContaining("fetch") });
  expect(client.state).toMatchObject({ name: "stopped" });
});

test("bye and expired of a topic are told; the client comes back and learns the rest", async () => {
  const { server, client, log } = fake();
  collect(client);
  await turns();
  server.streams[0]!.frame("bye", { reason: "shutdown" });
  server.streams[0]!.end();
  await pass(1000);
  server.streams[0]!.frame("expired", { reason: "topic" });
  server.refuse(404, { type: "topic-not-found" });
  await pass(50);
  expect(log.filter((entry) => !/state:connecting|state:open|open|resumed/.test(entry))).toEqual([
    "bye", "state:waiting", "error:network", "expired", "error:stream", "state:stopped", "error:topic-not-found!",
  ]);
});

test("reset and gap are told to client and topic, and the cursor moves", async () => {
  const { server, client, log } = fake();
  const topic = client.topic("t");
  const told: unknown[] = [];
  topic.on("reset", (reset) => told.push(reset));
  topic.on("gap", (gap) => told.push(gap));
  await turns();
  server.forget();
  server.drop();
  await pass(1000);
  server.streams[0]!.frame("gap", { missed: 3, topics: { t: 2, other: 1 }, after: "a.1", next: "a.5", until: "a.4" });
  await turns();
  expect(told).toEqual([
    { reason: "foreign", position: "0000000002.0" },
    { missed: 2, topics: { t: 2, other: 1 }, after: "a.1", next: "a.5", until: "a.4" }, // not those of the other topic
  ]);
  expect(client.cursor).toBe("0000000002.0");
  expect(log.slice(-3)).toEqual(["open", "reset", "gap"]);
});

// Tokens.

test("401 asks for a new token once, and goes on with it", async () => {
  const onTokenExpired = vi.fn(async () => "new");
  const { server, client } = fake({ token: "old", onTokenExpired });
  server.refuse(401, { type: "unauthenticated" });
  collect(client, "a");
  collect(client, "b");
  await turns();
  expect(client.state.name).toBe("open");
  expect(onTokenExpired.mock.calls).toEqual([["refused"]]);
  expect(server.requests.map((r) => r.headers.get("Authorization"))).toEqual(["Bearer old", "Bearer new"]);
});

test("without a way to a new token 401 is the end", async () => {
  const { server, client } = fake({ token: "old" });
  server.refuse(401, { type: "unauthenticated" });
  const topic = client.topic("t");
  await expect(topic.ready).rejects.toThrow(AuthError);
  expect(client.state).toMatchObject({ name: "stopped", error: { status: 401, fatal: true } });
});

test("two fresh tokens that are refused are the end", async () => {
  let n = 0;
  const onTokenExpired = vi.fn(async () => "fresh" + ++n);
  const { server, client } = fake({ token: "old", onTokenExpired });
  server.refuse(401, {}, 3);
  await expect(client.topic("t").ready).rejects.toThrow(AuthError);
  expect(server.requests.map((r) => r.headers.get("Authorization"))).toEqual(["Bearer old", "Bearer fresh1", "Bearer fresh2"]);
});

test("a refresher that fails is asked again later, unless its error is fatal", async () => {
  const onTokenExpired = vi
    .fn<(why: TokenReason) => Promise<string>>()
    .mockRejectedValueOnce(new Error("away"))
    .mockRejectedValueOnce(new PicloudError("logged-out", "log in again", true));
  const { server, client } = fake({ token: "old", onTokenExpired });
  server.refuse(401, {}, 2);
  collect(client);
  await turns();
  expect(client.state).toMatchObject({ name: "waiting", error: { detail: "away" } });
  await pass(1000);
  expect(client.state).toMatchObject({ name: "stopped", error: { type: "logged-out" } });
});

test("a token is renewed a tenth of its life ahead; the stream goes over to it", async () => {
  const now = Math.floor(Date.now() / 1000);
  vi.setSystemTime(now * 1000);
  const onTokenExpired = vi.fn(async () => "new");
  const { server, client, log } = fake({ token: jwt(now, now + 100, 1), onTokenExpired }, { heartbeat: 100 });
  vi.setSystemTime(now * 1000);
  const got = collect(client);
  await turns();
  server.publish("t", 1);
  await pass(89_999);
  expect(onTokenExpired).not.toHaveBeenCalled();
  await pass(1);
  expect(onTokenExpired.mock.calls).toEqual([["soon"]]);
  server.publish("t", 2);
  await turns();
  expect(server.streams.map((s) => s.request.headers.get("Authorization"))).toEqual(["Bearer new"]);
  expect(got).toEqual([1, 2]);
  expect(log).toEqual(["state:connecting", "state:open", "open", "state:open"]);
});

test("an expired token ends the stream, is renewed, and nothing is missing", async () => {
  const onTokenExpired = vi.fn(async () => "new");
  const { server, client, log } = fake({ token: "old", onTokenExpired });
  const got = collect(client);
  await turns();
  server.streams[0]!.frame("expired", { reason: "token" });
  server.streams[0]!.end();
  server.publish("t", 1);
  await turns();
  expect(onTokenExpired.mock.calls).toEqual([["expired"]]);
  expect(got).toEqual([1]);
  expect(log).toEqual(["state:connecting", "state:open", "open", "expired", "state:connecting", "error:stream", "state:open", "open", "resumed"]);
});

test("a request that is refused renews the token, too, once for all", async () => {
  const onTokenExpired = vi.fn(async () => "new");
  const { server, client } = fake({ token: "old", onTokenExpired });
  server.refuse(401, {}, 2);
  const both = await Promise.all([client.publish("t", 1), client.publish("t", 2)]);
  expect(both.map((p) => p.topic)).toEqual(["t", "t"]);
  expect(onTokenExpired).toHaveBeenCalledTimes(1);
});

// Pages.

test.each([
  ["window", "online"],
  ["window", "pageshow"],
  ["document", "visibilitychange"],
  ["document", "resume"],
] as const)("%s %s ends a wait", async (target, kind) => {
  const { fire } = page();
  const { server, client } = fake();
  server.away();
  collect(client);
  await turns();
  server.back();
  fire(target, kind);
  await turns();
  expect(client.state.name).toBe("open");
});

test("a wake after more than a heartbeat of silence opens a new stream, after less it does not", async () => {
  const { fire } = page();
  const { server, client } = fake({}, { heartbeat: 10 });
  collect(client);
  await turns();
  await pass(9000);
  fire("window", "online");
  await turns();
  expect([client.state.name, server.requests.length]).toEqual(["open", 1]);
  await pass(2000);
  fire("window", "online");
  await turns();
  expect([client.state.name, server.requests.length, server.streams.length]).toEqual(["open", 2, 1]);
});

test("a page that is left lets its stream go, and one that comes back goes on", async () => {
  const { fire } = page();
  const { server, client } = fake();
  const got = collect(client);
  await turns();
  fire("window", "pagehide");
  await turns();
  expect([client.state.name, server.streams.length]).toEqual(["paused", 0]);
  server.publish("t", 1);
  fire("window", "pageshow");
  await turns();
  expect([client.state.name, got]).toEqual(["open", [1]]);
});

test("pauseWhenHidden pauses after its time, and not before", async () => {
  const { document, fire } = page();
  const { server, client } = fake({ pauseWhenHidden: true });
  collect(client);
  await turns();
  document.visibilityState = "hidden";
  fire("document", "visibilitychange");
  await pass(29_999);
  expect(client.state.name).toBe("open");
  await pass(1);
  expect([client.state.name, server.streams.length]).toEqual(["paused", 0]);
  document.visibilityState = "visible";
  fire("document", "visibilitychange");
  await turns();
  expect(client.state.name).toBe("open");
});

test("a topic that is read while the page is paused waits for the page", async () => {
  const { document, fire } = page();
  const { server, client } = fake({ pauseWhenHidden: 100 });
  const topic = client.topic("t");
  await topic.ready;
  topic.close();
  await turns();
  document.visibilityState = "hidden";
  fire("document", "visibilitychange");
  await pass(100);
  const got = collect(client);
  await pass(60_000);
  expect([client.state.name, server.requests.length]).toEqual(["idle", 1]);
  document.visibilityState = "visible";
  fire("document", "visibilitychange");
  await turns();
  server.publish("t", 1);
  await turns();
  expect(got).toEqual([1]);
});

test("close is the end of everything", async () => {
  const { server, client } = fake();
  const topic = client.topic("t");
  await topic.ready;
  client.close();
  await turns();
  expect([client.state.name, server.streams.length]).toEqual(["closed", 0]);
  for await (const _ of topic) expect.unreachable();
  await expect(client.topic("u").ready).rejects.toMatchObject({ type: "closed" });
});
