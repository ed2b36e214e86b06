import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type Client, type ClientOptions, createClient, type TopicEvent } from "../src/index.js";
import { mintToken } from "../src/server.js";
// @ts-expect-error -- a script without types
import { typesOf } from "../scripts/api.mjs";
import { TestNode, until } from "./node/node.js";
import { expected, play } from "./requests.js";

function client(node: TestNode, options: Partial<ClientOptions> = {}): Client {
  const c = createClient({ url: node.url, app: "default", ...options });
  onTestFinished(() => c.close());
  return c;
}

/** all returns n events of a loop. */
async function all<T>(events: AsyncIterable<TopicEvent<T>>, n: number): Promise<TopicEvent<T>[]> {
  const got: TopicEvent<T>[] = [];
  for await (const event of events) {
    got.push(event);
    if (got.length === n) break;
  }
  return got;
}

// CL-1, CL-5: what is published arrives, with its id, time and source; loops and listeners get the same.
test("an event goes from publish to loop and listener", async () => {
  const node = await TestNode.start();
  const c = client(node, { token: await node.key("app:publish", "app:read") });
  const door = c.topic<{ open: boolean }>("door");
  await door.ready;
  expect(c.state).toMatchObject({ name: "open", stale: false });
  const loop = all(door, 2);
  const published = [await c.publish("door", { open: true }), ...(await c.publishAll([{ topic: "door", data: { open: false } }]))];
  const events = await loop;
  expect(events.map((e) => ({ id: e.id, topic: e.topic, publishedAt: e.publishedAt }))).toEqual(
    published.map(({ id, topic, publishedAt }) => ({ id, topic, publishedAt })),
  );
  expect(events.map((e) => e.data)).toEqual([{ open: true }, { open: false }]);
  expect(events[0]!.source).toMatch(/^key:/);
  expect(door.last).toEqual(events[1]);
  await until("the topic to end with its only loop", () => c.state.name === "idle");
});

// CL-3, CL-4: kill -9 in the middle: the client comes back by itself and misses nothing.
test("a client survives kill -9 of the node", async () => {
  const node = await TestNode.start();
  const c = client(node, { token: await node.key("app:publish", "app:read") });
  const got: unknown[] = [];
  let resumed = 0;
  c.on("resumed", () => resumed++);
  const topic = c.topic("n");
  topic.on("event", (e) => got.push(e.data));
  await topic.ready;
  await c.publish("n", 1);
  await until("the first event", () => got.length === 1);
  await node.kill();
  await until("the loss", () => c.state.name === "waiting");
  expect(c.state).toMatchObject({ stale: true, error: { type: "network" } });
  await node.start();
  await c.publish("n", 2);
  await until("the client to come back", () => got.length === 2);
  expect(got).toEqual([1, 2]);
  expect(resumed).toBe(1);
});

// CL-4: at 1 000 events/s topics join and leave, and nothing is lost or doubled.
test("topics join and leave at 1 000 events a second", async () => {
  const node = await TestNode.start();
  const c = client(node, { token: await node.key("app:publish", "app:read") });
  const steady: number[] = [];
  c.topic<number>("steady").on("event", (e) => steady.push(e.data));
  const others = Array.from({ length: 8 }, (_, i) => ({ name: "other" + i, spans: [] as { first: number; after: number; got: number[] }[] }));
  const total = 5000;
  let published = 0;
  const publisher = (async () => {
    const began = Date.now();
    while (published < total) {
      const drafts = [];
      for (let i = 0; i < 20; i++) for (const topic of ["steady", ...others.map(({ name }) => name)]) drafts.push({ topic, data: published + i });
      await c.publishAll(drafts);
      published += 20;
      const ahead = began + published - Date.now(); // one of each topic a millisecond
      if (ahead > 0) await new Promise((resolve) => setTimeout(resolve, ahead));
    }
  })();
  await until("the first events", () => steady.length > 0);
  for (let turn = 0; published < total; turn++) {
    const other = others[turn % others.length]!;
    const topic = c.topic<number>(other.name);
    const got: number[] = [];
    topic.on("event", (e) => got.push(e.data));
    await topic.ready;
    const first = published; // what is published from now on must come …
    await until("some events", () => got.length > 50 || published >= total);
    const after = got.length;
    topic.close();
    other.spans.push({ first, after, got });
  }
  await publisher;
  await until("the last event", () => steady.at(-1) === total - 1);
  const run = (from: number, n: number): number[] => Array.from({ length: n }, (_, i) => from + i);
  expect(steady).toEqual(run(steady[0]!, total - steady[0]!));
  const spans = others.flatMap(({ spans }) => spans);
  expect(spans.length).toBeGreaterThan(10);
  for (const { first, after, got } of spans) {
    if (!after) continue; // it joined when all was over
    expect(got).toEqual(run(got[0]!, after)); // in order, no gap, no double, and nothing after close
    expect(got[0]).toBeLessThanOrEqual(first + 20);
  }
});

// CL-4: a node takes 64 topics on a stream, and a head of 16 KiB.
test("more topics than fit on one stream, with the longest names, in one client and in tabs that share", async () => {
  const node = await TestNode.start();
  const token = await node.key("app:publish", "app:read");
  const names = (n: number, prefix: string): string[] => Array.from({ length: n }, (_, i) => prefix + (100 + i));
  const long = names(64, "/".repeat(125));
  const tabs = [[...names(100, "t"), ...long], names(40, "a"), names(40, "b")].map((topics, i) => {
    const c = client(node, { token, share: i > 0 });
    const got: Record<string, unknown[]> = {};
    const ready = topics.map((name) => {
      const topic = c.topic(name, { since: "latest" });
      topic.on("event", ({ data }) => (got[name] ??= []).push(data));
      return topic.ready;
    });
    return { c, topics, got, ready: Promise.all(ready) };
  });
  await Promise.all(tabs.map(({ ready }) => ready));
  const publisher = client(node, { token });
  for (const data of [1, 2]) await publisher.publishAll(tabs.flatMap(({ topics }) => topics).map((topic) => ({ topic, data })));
  for (const { topics, got, c } of tabs) {
    await until("the events", () => topics.every((name) => got[name]?.length === 2));
    expect(got).toEqual(Object.fromEntries(topics.map((name) => [name, [1, 2]])));
    expect(c.state.name).toBe("open");
  }
});

// RT-9, CL-3: a subscriber token that expires in the middle is renewed, and nothing is missing.
test("a token expires in the middle", async () => {
  const node = await TestNode.start();
  const key = await node.key("app:publish");
  await node.run("topics", "create", "door", "--external");
  let tokens = 0;
  const getToken = async (): Promise<string> => {
    tokens++;
    return (await mintToken({ url: node.url, app: "default", key, topics: ["door"], ttl: 10 })).token;
  };
  const c = client(node, { token: getToken });
  const publisher = client(node, { token: key });
  const got: unknown[] = [];
  c.topic("door").on("event", (e) => got.push(e.data));
  await until("the stream", () => c.state.name === "open");
  let n = 0;
  await until("the third token", async () => {
    await publisher.publish("door", n++);
    return tokens > 2;
  });
  await publisher.publish("door", n++);
  await until("the last event", () => got.length === n);
  expect(got).toEqual(Array.from({ length: n }, (_, i) => i));
});

// CL-5
test("history, idempotency and refusals of a real node", async () => {
  const node = await TestNode.start();
  const c = client(node, { token: await node.key("app:publish", "app:read") });
  const one = await c.publish("door", 1, { idempotencyKey: "k" });
  expect(await c.publish("door", 1, { idempotencyKey: "k" })).toEqual(one);
  await expect(c.publish("door", 2, { idempotencyKey: "k" })).rejects.toMatchObject({ type: "idempotency-key-reused", status: 422, fatal: true });
  await c.publishAll(Array.from({ length: 250 }, (_, i) => ({ topic: "door", data: i + 2 })));
  const events = [];
  for await (const event of c.history<number>("door")) events.push(event.data);
  expect(events).toEqual(Array.from({ length: 251 }, (_, i) => i + 1));
  const topic = c.topic<number>("door", { since: "all" });
  await c.publish("door", 252);
  expect((await all(topic, 252)).map((e) => e.data)).toEqual(Array.from({ length: 252 }, (_, i) => i + 1));
  await expect(client(node).publish("door", 1)).rejects.toMatchObject({ name: "AuthError", status: 401 });
  await expect(client(node).topic("nowhere").ready).rejects.toMatchObject({ name: "StatusError", status: 404 });
});

// The fake server is tested with the same requests, so that it cannot drift away from the node.
test("the answers of a real node to the requests that the fake server is tested with", async () => {
  const node = await TestNode.start();
  const Authorization = "Bearer " + (await node.key("app:publish", "app:read"));
  expect(await play((path, init) => fetch(node.url + path, { ...init, headers: { ...init.headers, Authorization } }))).toEqual(expected);
});

// CL-5
test("an endpoint of a script", async () => {
  const node = await TestNode.start({ PICLOUD_APPS_DIR: join(import.meta.dirname, "../../../examples") });
  const c = createClient({ url: node.url, app: "orders" });
  const order = c.endpoint<{ who: string; pieces: number }, { id: string }>("POST", "/orders", { timeout: 30_000 });
  let answer: { id: string } | undefined;
  await until("the app to be applied", async () => (answer = await order({ who: "ada", pieces: 3 }).catch(() => undefined)) !== undefined);
  expect(answer).toHaveProperty("id");
});

// CL-5: client and node cannot drift apart.
test("the bodies of the node are those that the client is written for", async () => {
  const node = await TestNode.start();
  const document = await (await fetch(node.url + "/v1/openapi.json")).json();
  const types = readFileSync(join(import.meta.dirname, "../src/api.ts"), "utf8");
  expect(types, "run: curl …/v1/openapi.json | node scripts/api.mjs > src/api.ts").toBe(typesOf(document));
});
