import { expect, test, vi } from "vitest";
import { z } from "zod";
import type { Client, InvalidError, Topic, TopicEvent, TopicOptions } from "../src/index.js";
import { fake, pass, turns } from "./fake.js";

/** collect begins to read a topic and returns it with the data that comes. */
function collect(client: Client, name: string, options?: TopicOptions<unknown>): { topic: Topic<unknown>; got: unknown[] } {
  const topic = client.topic(name, options);
  const got: unknown[] = [];
  topic.on("event", (event) => got.push(event.data));
  return { topic, got };
}

// CL-4
test("topics of one turn are one request; the order does not count", async () => {
  const { server, client } = fake();
  const a = collect(client, "b");
  const b = collect(client, "a");
  const gone = client.topic("c");
  gone.close();
  await turns();
  expect(server.requests.map((r) => r.url.searchParams.getAll("topic"))).toEqual([["a", "b"]]);
  server.publish("a", 1);
  server.publish("b", 2);
  server.publish("c", 3);
  await turns();
  expect([a.got, b.got]).toEqual([[2], [1]]);
});

test("a topic that joins loses nothing and doubles nothing, of itself and of the others", async () => {
  const { server, client, log } = fake();
  const a = collect(client, "a");
  await turns();
  server.publish("a", 1);
  server.hold(); // the new stream is on its way …
  const b = collect(client, "b");
  await turns();
  server.publish("a", 2); // … while the old one goes on
  server.publish("b", 3);
  await turns();
  expect([a.got, b.got]).toEqual([[1, 2], []]);
  server.release();
  await turns();
  server.publish("a", 4);
  server.publish("b", 5);
  await turns();
  expect([a.got, b.got]).toEqual([[1, 2, 4], [3, 5]]);
  expect(server.streams).toHaveLength(1);
  expect(log).toEqual(["state:connecting", "state:open", "open", "state:open"]); // not stale for a moment
});

test("a topic that leaves takes nothing with it", async () => {
  const { server, client } = fake();
  const a = collect(client, "a");
  const b = collect(client, "b");
  await turns();
  b.topic.close();
  server.publish("a", 1);
  await turns();
  server.publish("a", 2);
  server.publish("b", 3);
  await turns();
  expect([a.got, b.got]).toEqual([[1, 2], []]);
  expect(server.streams.map((s) => s.topics)).toEqual([["a"]]);
  a.topic.close();
  await turns();
  expect([client.state.name, server.streams.length, client.cursor]).toEqual(["idle", 0, null]);
});

test("the stream breaks while another is on its way", async () => {
  const { server, client } = fake();
  const a = collect(client, "a");
  await turns();
  server.hold();
  const b = collect(client, "b");
  await turns();
  server.drop();
  await turns();
  expect(client.state.name).toBe("connecting");
  server.publish("a", 1);
  server.publish("b", 2);
  server.release();
  await turns();
  expect([a.got, b.got, client.state.name]).toEqual([[1], [2], "open"]);
});

test("topics come and go while a stream is on its way", async () => {
  const { server, client } = fake();
  const a = collect(client, "a");
  await turns();
  server.hold();
  const b = collect(client, "b");
  await turns();
  b.topic.close();
  const c = collect(client, "c");
  await turns();
  server.publish("c", 1);
  server.release();
  await turns();
  await pass(50);
  server.publish("a", 2);
  await turns();
  expect([a.got, b.got, c.got]).toEqual([[2], [], [1]]);
  expect(server.streams.map((s) => s.topics)).toEqual([["a", "c"]]);
});

// CL-4: a node takes 64 topics, and a head of 16 KiB, for one stream.
test("topics that do not fit on one stream are on several, and the client tells the one that is worst off", async () => {
  const { server, client, log } = fake({}, { retry: 1000 });
  const names = Array.from({ length: 100 }, (_, i) => "t" + i);
  const all = names.map((name) => collect(client, name));
  await Promise.all(all.map(({ topic }) => topic.ready));
  expect([server.streams.map(({ topics }) => topics.length), client.state.name]).toEqual([[64, 36], "open"]);
  for (const name of names) server.publish(name, 1);
  await turns();
  expect(client.cursor).toBe("0000000001.64"); // what is after it may have come, or not
  const [, second] = server.streams;
  second!.end(new TypeError("broken"));
  await turns();
  expect(client.state).toMatchObject({ name: "waiting", stale: true, error: { type: "network" } });
  for (const name of names) server.publish(name, 2);
  await pass(1000);
  expect(client.state).toMatchObject({ name: "open", stale: false });
  expect(all.map(({ got }) => got)).toEqual(names.map(() => [1, 2]));
  server.refuse(403, { type: "forbidden" });
  const late = expect(client.topic("late").ready).rejects.toMatchObject({ type: "forbidden" });
  await pass(100);
  await late;
  expect([client.state.name, server.streams.length]).toEqual(["open", 2]);
  for (const { topic } of all) topic.close();
  await pass(300);
  expect([client.state.name, client.cursor, server.streams.length]).toEqual(["idle", null, 0]);
  expect(log.filter((entry) => entry.startsWith("state:"))).not.toContain("state:stopped");
  client.close();
  await turns();
  expect(log.at(-1)).toBe("state:closed");
});

test("topics with long names are on as many streams as a request has room for", async () => {
  const { server, client } = fake();
  const topics = Array.from({ length: 64 }, (_, i) => client.topic("/".repeat(126) + (10 + i), { since: "latest" }));
  await Promise.all(topics.map(({ ready }) => ready));
  expect(server.streams.length).toBe(2);
  for (const { url } of server.requests) expect(url.href.length).toBeLessThan(12_000);
});

test("a client with many topics goes on after the cursor that it is given, with all of them", async () => {
  const { server, client } = fake({ cursor: "0000000001.1" });
  for (let i = 0; i < 3; i++) for (const name of ["t0", "t99"]) server.publish(name, i);
  const all = Array.from({ length: 100 }, (_, i) => collect(client, "t" + i));
  await turns();
  expect([all[0]!.got, all[99]!.got]).toEqual([[1, 2], [0, 1, 2]]);
  for (const { topic } of all.slice(0, 64)) topic.close();
  await pass(100);
  expect([client.cursor, client.state.name]).toEqual(["0000000001.6", "open"]);
});

// RT-6: a node that takes its time is not asked again for each topic, and topics do not wait for each other.
test("topics that come one by one are few streams, and each is ready soon", async () => {
  const { server, client } = fake({
    async fetch(input, init) {
      await new Promise((resolve) => setTimeout(resolve, 100)); // of the test's clock
      return server.fetch(input, init);
    },
  });
  let ready = 0;
  for (let i = 0; i < 60; i++) {
    void client.topic("t" + i).ready.then(() => ready++);
    await pass(50);
    expect(ready).toBeGreaterThanOrEqual(i - 9); // half a second ago
  }
  await pass(350);
  expect(ready).toBe(60);
  expect(server.requests.length).toBeLessThan(20);
  expect(server.streams).toHaveLength(1);
});

test.each(["beside others", "alone"])("a node that is busy is not asked sooner for a topic %s than it says", async (how) => {
  const { server, client } = fake();
  if (how === "beside others") await client.topic("a").ready;
  const before = server.requests.length;
  server.refuse(429, { type: "busy", retryAfter: 60 });
  for (let i = 0; i < 40; i++) {
    const topic = client.topic("x" + i);
    await pass(500);
    if (how === "alone" && i) expect(client.state).toMatchObject({ name: "waiting", error: { type: "busy" } });
    topic.close();
    await pass(500);
  }
  expect(server.requests).toHaveLength(before + 1);
  const { ready } = client.topic("b");
  await pass(21_000);
  await ready;
});

test.each(["joins at last", "leaves"])("while the node is too busy for a topic to join the state says why, until it %s", async (how) => {
  const { server, client, log } = fake();
  const a = collect(client, "a");
  await turns();
  server.refuse(429, { type: "busy", retryAfter: 60 });
  const { topic } = collect(client, "b");
  await pass(0);
  expect(client.state).toMatchObject({ name: "open", stale: false, leader: true, attempt: 1, retryAt: Date.now() + 61_000, error: { type: "busy" } });
  server.publish("a", 1);
  if (how === "leaves") topic.close();
  await pass(61_000);
  expect(client.state).not.toHaveProperty("error");
  expect(log).toEqual(["state:connecting", "state:open", "open", "state:open", "error:busy", "state:open"]);
  expect([a.got, server.streams.length]).toEqual([[1], 1]);
});

test("a topic that the node refuses ends alone", async () => {
  const { server, client, log } = fake();
  const a = collect(client, "a");
  await turns();
  server.refuse(404, { type: "topic-not-found" });
  const b = collect(client, "b");
  await expect(b.topic.ready).rejects.toMatchObject({ status: 404 });
  server.publish("a", 1);
  await turns();
  expect([a.got, client.state.name, server.requests.length]).toEqual([[1], "open", 2]);
  expect(log.at(-1)).toBe("error:topic-not-found!");
});

test.each(["deleted", "never there"])("of several topics one that is %s ends alone", async (which) => {
  const { server, client, log } = fake();
  const topics = ["a", "b", "c"].map((name) => collect(client, name));
  if (which === "deleted") {
    await turns();
    const [stream] = server.streams;
    stream!.frame("expired", { reason: "topic", topic: "b" });
    stream!.end();
  }
  server.refuse(404, { type: "topic-not-found", topic: "b" });
  const closed = new Promise((resolve) => topics[1]!.topic.on("close", resolve));
  await pass(100); // the others do not wait as after a failure
  expect(await closed).toMatchObject({ status: 404, topic: "b", fatal: true });
  expect(client.state.name).toBe("open");
  expect(log).not.toContain("state:stopped");
  for (const name of ["a", "b", "c"]) server.publish(name, name);
  await turns();
  expect([topics.map(({ got }) => got), server.streams.map((stream) => stream.topics)]).toEqual([[["a"], [], ["c"]], [["a", "c"]]]);
});

test("many topics that are refused do not keep the others waiting, and one that was not asked for is the end", async () => {
  const { server, client } = fake();
  const all = Array.from({ length: 40 }, (_, i) => collect(client, "t" + (100 + i)));
  for (const { topic } of all.slice(0, 30)) server.refuse(404, { type: "topic-not-found", topic: topic.name });
  await turns(() => client.state.name === "open");
  await turns();
  expect(server.streams.map(({ topics }) => topics.length)).toEqual([10]);
  await expect(all[29]!.topic.ready).rejects.toMatchObject({ status: 404 });
  server.drop();
  server.refuse(404, { type: "topic-not-found", topic: "other" });
  await pass(1000);
  expect(client.state).toMatchObject({ name: "stopped", error: { status: 404 } });
});

test("a topic waits for a node that is too busy for it, and the others go on", async () => {
  const { server, client } = fake();
  const a = collect(client, "a");
  await turns();
  server.refuse(503);
  const b = collect(client, "b");
  await turns();
  server.publish("a", 1);
  await turns();
  expect([client.state.name, a.got]).toEqual(["open", [1]]);
  await pass(1000);
  server.publish("b", 2);
  await turns();
  expect(b.got).toEqual([2]);
});

test("the same topic twice is one topic of the stream", async () => {
  const { server, client } = fake();
  const one = collect(client, "a");
  await turns();
  const two = collect(client, "a");
  await two.topic.ready;
  server.publish("a", 1);
  await turns();
  one.topic.close();
  await turns();
  server.publish("a", 2);
  await turns();
  expect([one.got, two.got, server.requests.length]).toEqual([[1], [1, 2], 1]);
});

test("latest brings the newest event first, and is not asked for again when it has come", async () => {
  const { server, client } = fake();
  server.publish("a", 1);
  server.publish("a", 2);
  const a = collect(client, "a", { since: "latest" });
  const b = collect(client, "b", { since: "latest" });
  await turns();
  expect([a.got, b.got]).toEqual([[2], []]);
  server.drop();
  await pass(1000);
  const again = collect(client, "a", { since: "latest" }); // joins what is read already
  await pass(50);
  server.publish("a", 3);
  server.publish("b", 4);
  await turns();
  expect([a.got, b.got, again.got]).toEqual([[2, 3], [4], [2, 3]]);
  expect(server.requests.map((r) => r.url.searchParams.getAll("latest"))).toEqual([["a", "b"], ["b"], ["a", "b"]]);
});

test.each(["all", "an id"])("a topic begins at %s, and what comes meanwhile comes after", async (which) => {
  const { server, client } = fake();
  const first = server.publish("a", 1);
  server.publish("a", 2);
  server.publish("b", 0);
  collect(client, "b");
  await turns();
  server.publish("a", 3);
  const a = collect(client, "a", { since: which === "all" ? "all" : first.id });
  server.handle("GET", "/v1/apps/a/topics/a/events", async (request) => {
    server.publish("a", 4); // comes on the stream before the page does
    await turns();
    const idOf = (n: number): string => "0000000001." + [0, 1, 2, 4, 5][n];
    const history = [1, 2, 3, 4].map((n) => ({ id: idOf(n), topic: "a", data: n, published_at: new Date(), source: "fake" }));
    const since = request.url.searchParams.get("since");
    return Response.json({ events: since === "all" ? history : history.slice(1), next: null });
  });
  await turns(() => a.got.length > 3);
  await turns();
  server.publish("a", 5);
  await turns();
  expect(a.got).toEqual(which === "all" ? [1, 2, 3, 4, 5] : [2, 3, 4, 5]);
});

test("an id that retention has passed gives a reset, and the topic goes on", async () => {
  const { server, client } = fake();
  server.handle("GET", "/v1/apps/a/topics/a/events", () => Response.json({ type: "urn:picloud:problem:position-gone" }, { status: 410 }));
  const a = collect(client, "a", { since: "0000000001.7" });
  const resets: unknown[] = [];
  a.topic.on("reset", (reset) => resets.push(reset));
  await turns();
  server.publish("a", 1);
  await turns();
  expect([resets, a.got]).toEqual([[{ reason: "gone", position: "0000000001.0" }], [1]]);
});

test("history that cannot be had now is asked for again", async () => {
  const { server, client } = fake();
  server.publish("a", 1);
  let failures = 2;
  const a = collect(client, "a", { since: "all" });
  server.handle("GET", "/v1/apps/a/topics/a/events", (request) => {
    if (failures-- > 0) return new Response("", { status: 503 });
    const data = request.url.searchParams.get("since");
    return Response.json({ events: [{ id: "0000000001.1", topic: "a", data, published_at: "", source: "" }], next: null });
  });
  await pass(1000);
  await pass(2000);
  expect(a.got).toEqual(["all"]);
});

test.each(["topic", "client"])("history is not asked for any more when the %s is closed", async (which) => {
  const { server, client } = fake();
  const { topic } = collect(client, "a", { since: "all" });
  server.handle("GET", "/v1/apps/a/topics/a/events", () => new Response("", { status: 503 }));
  const asked = (): number => server.requests.filter((request) => request.url.pathname.endsWith("/topics/a/events")).length;
  await pass(5000);
  const before = asked();
  expect(before).toBeGreaterThan(1);
  (which === "topic" ? topic : client).close();
  await pass(120_000);
  expect(asked()).toBe(before);
});

test("a client begins after the cursor of another one", async () => {
  const { server, client } = fake();
  const { id } = server.publish("a", 1);
  server.publish("a", 2);
  client.close();
  const next = fake({ cursor: id, fetch: server.fetch });
  const { got } = collect(next.client, "a");
  await turns();
  expect([got, next.client.cursor]).toEqual([[2], "0000000001.2"]);
  expect(next.log).toContain("resumed");
});

test("events of other nodes and states pass as they come", async () => {
  const { server, client } = fake();
  const topic = client.topic("$board/health", { since: "latest" });
  const events: TopicEvent<unknown>[] = [];
  topic.on("event", (event) => events.push(event));
  await turns();
  const [stream] = server.streams;
  const envelope = { topic: "$board/health", published_at: "2026-11-23T20:15:00.123456Z", source: "system" };
  for (const data of [1, 1]) stream!.send(`data: ${JSON.stringify({ ...envelope, data })}\n\n`);
  stream!.send(`data: ${JSON.stringify({ ...envelope, data: 2, node: "other", id: "0000000009.9", clock: "unsynced" })}\n\n`);
  await turns();
  expect(events.map((e) => [e.data, e.id, e.node, e.unsynced])).toEqual([
    [1, undefined, undefined, undefined],
    [1, undefined, undefined, undefined],
    [2, "0000000009.9", "other", true],
  ]);
  expect(events[0]!.publishedAt).toEqual(new Date("2026-11-23T20:15:00.123Z"));
  server.drop();
  await pass(1000);
  expect(server.requests.at(-1)!.url.searchParams.getAll("latest")).toEqual(["$board/health"]);
});

// CL-4: what both streams bring is told once, of other nodes, too.
test("an event of another node that comes on the stream before and on the one that takes its place is told once", async () => {
  const { server, client } = fake();
  const { got } = collect(client, "a");
  await turns();
  const [before] = server.streams;
  const relay = (n: number, node = "other"): string =>
    `data: ${JSON.stringify({ topic: "a", data: node + n, published_at: "2026-11-23T20:15:00Z", source: "key:x", node, id: "00000000ff." + n })}\n\n`;
  before!.send(relay(9));
  await turns();
  const started = client.topic("b").ready;
  await turns(() => server.streams.length > 1 || client.state.name !== "open");
  for (const stream of server.streams) stream.send(relay(10) + relay(7, "third"));
  await started;
  await turns();
  for (const stream of server.streams) stream.send(relay(10) + relay(11));
  await turns();
  expect(got).toEqual(["other9", "other10", "third7", "other11"]);
});

test("a frame that cannot be read is told and ends nothing", async () => {
  const { server, client, log } = fake();
  const { got } = collect(client, "a");
  await turns();
  server.streams[0]!.send("data: {\n\nevent: what\ndata: 1\n\n");
  server.publish("a", 1);
  await turns();
  expect([got, log.at(-1)]).toEqual([[1], "error:stream"]);
});

// CL-5
test("an event that does not pass goes to onInvalid, and the topic goes on", async () => {
  const { server, client } = fake();
  const onInvalid = vi.fn<(error: InvalidError, event: TopicEvent<unknown>) => void>();
  const topic = client.topic("a", { validate: z.object({ n: z.number() }), onInvalid });
  const got: number[] = [];
  topic.on("event", (event) => got.push(event.data.n));
  const invalid = vi.fn();
  topic.on("invalid", invalid);
  await turns();
  for (const data of [{ n: 1 }, { n: "x" }, { n: 3 }]) server.publish("a", data);
  await turns();
  expect(got).toEqual([1, 3]);
  expect(onInvalid.mock.calls).toEqual([[expect.objectContaining({ type: "invalid", value: { n: "x" } }), expect.objectContaining({ data: { n: "x" } })]]);
  expect(invalid).toHaveBeenCalledTimes(1);
});

test("a loop gets what came before it began; a full buffer drops the oldest and says so", async () => {
  const { server, client } = fake();
  const topic = client.topic<number>("a", { buffer: 3 });
  const gaps: unknown[] = [];
  topic.on("gap", (gap) => gaps.push(gap));
  await turns();
  for (let i = 1; i <= 5; i++) server.publish("a", i);
  await turns();
  const got: number[] = [];
  for await (const event of topic) {
    got.push(event.data);
    if (event.data === 5) break;
  }
  expect([got, gaps]).toEqual([[3, 4, 5], [{ missed: 1 }, { missed: 1 }]]);
  await turns();
  expect(client.state.name).toBe("idle"); // break has ended the topic
});

test("mode latest shows the newest event once a frame", async () => {
  const { server, client } = fake();
  const { topic, got } = collect(client, "a", { mode: "latest" });
  await turns();
  for (let i = 1; i <= 100; i++) server.publish("a", i);
  await turns();
  expect([got, topic.last?.data]).toEqual([[], 100]);
  await pass(16);
  expect(got).toEqual([100]);
});
