import { describe, expect, expectTypeOf, test, vi } from "vitest";
import * as v from "valibot";
import { z } from "zod";
import { createClient, InvalidError, NetworkError, PicloudError } from "../src/index.js";
import { fake, pass, turns } from "./fake.js";

test.each(["", "bad name", "$", "a*", "tür", "x".repeat(129), "a\n"])("a topic cannot be called %j, and no other topic ends for it", async (name) => {
  const { server, client } = fake();
  const door = client.topic("door");
  expect(() => client.topic(name)).toThrow(InvalidError);
  expect(() => client.topic(name)).toThrow("A-Z a-z 0-9 . _ / -");
  await door.ready;
  expect(server.streams.map(({ topics }) => topics)).toEqual([["door"]]);
});

test.each(["$board/health", "..", "a/b", "A-z_0.9", "x".repeat(128)])("a topic can be called %s", async (name) => {
  const { client } = fake();
  await client.topic(name).ready;
});

test.each([new Date("x"), "", "yesterday"])("a topic that begins at %s ends alone, with advice", async (since) => {
  const { server, client } = fake();
  const got: unknown[] = [];
  client.topic("a").on("event", ({ data }) => got.push(data));
  const closed = new Promise((resolve) => client.topic("a", { since }).on("close", resolve));
  await pass(0);
  expect(await closed).toMatchObject({ status: 400, fatal: true, detail: expect.stringContaining("10m or 7d") });
  server.publish("a", 1);
  await pass(0);
  expect([got, client.state.name]).toEqual([[1], "open"]);
});

test("a topic that is closed before it is ready says so", async () => {
  const { client } = fake();
  const topic = client.topic("a");
  topic.close();
  await expect(topic.ready).rejects.toThrow(PicloudError);
});

test("a listener gets what comes after it was added, also by another listener", async () => {
  const { server, client } = fake();
  const topic = client.topic("a");
  const got: unknown[] = [];
  const gone: unknown[] = [];
  let off = (): void => {};
  const once = topic.on("event", () => {
    once();
    off();
    topic.on("event", ({ data }) => got.push(data));
  });
  off = topic.on("event", ({ data }) => gone.push(data));
  await topic.ready;
  for (const n of [1, 2]) server.publish("a", n);
  await turns();
  expect([got, gone]).toEqual([[2], []]);
});

test("a loop gets what came after the last listener was taken off", async () => {
  const { server, client } = fake();
  const topic = client.topic("a");
  const off = topic.on("event", () => {});
  await topic.ready;
  server.publish("a", 1);
  await turns();
  off();
  for (const n of [2, 3]) server.publish("a", n);
  await turns();
  expect((await topic[Symbol.asyncIterator]().next()).value?.data).toBe(2);
});

test("a request to an endpoint says what it lacks, and its query is what was asked for", async () => {
  const urls: string[] = [];
  const client = createClient({
    app: "a",
    url: "http://fake.test",
    fetch: async (url) => {
      urls.push(String(url));
      return Response.json({});
    },
  });
  await expect(client.endpoint("GET", "/o/{id}")()).rejects.toThrow(InvalidError);
  await expect(client.endpoint("GET", "/o/{id}")()).rejects.toThrow("`id`");
  await expect(client.endpoint<object>("DELETE", "/o/{id}")({ id: "" })).rejects.toThrow("`id`"); // it would be another resource
  await client.endpoint<object>("GET", "/o/{id}")({ id: 0, q: undefined, none: null, list: [1, "b&c"], at: new Date(0), where: { n: 1 } });
  expect(urls.map((url) => decodeURIComponent(url))).toEqual(['http://fake.test/apps/a/o/0?list=1&list=b&c&at=1970-01-01T00:00:00.000Z&where={"n":1}']);
});

test("a field may be in a path twice, and what JSON does not have is in no query", async () => {
  const urls: string[] = [];
  const fetch = async (url: unknown): Promise<Response> => (urls.push(String(url)), Response.json({}));
  const client = createClient({ app: "a", url: "http://fake.test", fetch: fetch as never });
  await client.endpoint<object>("GET", "/{a}/{a}{b}")({ a: 1, b: "x", f: () => {}, at: new Date("x"), n: NaN, list: [NaN, 0] });
  expect(urls).toEqual(["http://fake.test/apps/a/1/1x?list=0"]);
});

describe("what cannot be sent is refused before anything is", () => {
  const circle: Record<string, unknown> = {};
  circle.circle = circle;
  const bodies = { BigInt: { a: 1n, b: 1n }, circle: { a: circle, b: circle } };
  const parts = { NaN: NaN, "no time": new Date("x"), function: () => {}, "half a character": "\ud83d", null: null, circle };
  const client = createClient({ app: "a", url: "http://fake.test", fetch: () => expect.unreachable() });
  for (const [what, body] of Object.entries(bodies)) {
    test.each(["GET", "DELETE", "POST", "PUT", "PATCH"] as const)(what + " to an endpoint by %s", async (method) => {
      await expect(client.endpoint<object>(method, "/o")(body)).rejects.toThrow(InvalidError);
    });
    test(what + " to a topic", async () => {
      await expect(client.publish("t", body)).rejects.toThrow(InvalidError);
      await expect(client.publishAll([{ topic: "t", data: body }])).rejects.toThrow(InvalidError);
    });
  }
  test.each(Object.entries(parts))("%s in a path", async (_, a) => {
    await expect(client.endpoint<object>("GET", "/o/{a}")({ a })).rejects.toThrow(InvalidError);
  });
  test.each(["", "o", "/o?x=1", "/o#x", "http://other.test/"])("the path %j", (path) => {
    expect(() => client.endpoint("GET", path)).toThrow("begins with /");
  });
  test.each(["t\n", "a b", "ü"])("the token %j", (token) => {
    expect(() => createClient({ app: "a", token })).toThrow("a token has no spaces or line breaks");
  });
});

test("no timeout, and 0, are none", async () => {
  const client = createClient({ app: "a", url: "http://fake.test", fetch: async () => (await turns(), Response.json(1)) });
  for (const timeout of [null, 0, undefined]) expect(await client.endpoint("GET", "/o", { timeout: timeout! })()).toBe(1);
});

test("a request to an endpoint has the type of what goes into its schema", () => {
  const client = createClient({ app: "a" });
  const order = client.endpoint("POST", "/o", { request: z.object({ n: z.string().transform(Number) }), response: z.object({ at: z.coerce.date() }) });
  expectTypeOf(order).parameter(0).toEqualTypeOf<{ n: string }>();
  expectTypeOf(order).returns.resolves.toEqualTypeOf<{ at: Date }>();
  const lamp = client.endpoint("POST", "/o", { request: v.object({ on: v.optional(v.boolean(), true) }) });
  expectTypeOf(lamp).parameter(0).toEqualTypeOf<{ on?: boolean | undefined }>();
  const made = client.endpoint("POST", "/o", { request: (value: unknown) => value as { n: number } });
  expectTypeOf(made).parameter(0).toEqualTypeOf<{ n: number }>();
});

test("a node that cannot be reached is an error with the address, the cause, and what to look at", async () => {
  const cause = new TypeError("fetch failed", { cause: new Error("connect ECONNREFUSED 127.0.0.1:1") });
  const { client } = fake({ fetch: () => Promise.reject(cause) });
  const error = await client.publish("door", 1).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(NetworkError);
  expect(error).toMatchObject({ type: "network", fatal: false, cause });
  for (const part of ["http://fake.test", "ECONNREFUSED", "allowed_origins"]) expect((error as PicloudError).detail).toContain(part);
  client.topic("door");
  await turns();
  expect(client.state).toMatchObject({ name: "waiting", error: { cause } });
  expect(client.state.error!.detail).toContain("http://fake.test (");
});

test.each(["", "pi.local:7420"])("a client of the url %j outside of a page ends at once, with advice", async (url) => {
  const { client } = fake({ url, fetch });
  await expect(client.topic("door").ready).rejects.toMatchObject({ type: "network", fatal: true, detail: expect.stringContaining("http://pi.local:7420") });
  expect(client.state.name).toBe("stopped");
});

test("the fake server's history begins where it is told to", async () => {
  const { server, client } = fake();
  server.publish("a", 1);
  vi.setSystemTime(Date.now() + 3_600_000);
  const { id } = server.publish("a", 2);
  server.publish("a", 3);
  const read = async (since: string | Date): Promise<unknown[]> => {
    const got = [];
    for await (const { data } of client.history("a", { since })) got.push(data);
    return got;
  };
  expect(await Promise.all(["all", new Date(0), "2h", "10m", id, "latest"].map(read))).toEqual([[1, 2, 3], [1, 2, 3], [1, 2, 3], [2, 3], [3], [3]]);
  await expect(read("0000000009.1")).rejects.toMatchObject({ status: 410 });
  await expect(read(new Date("x"))).rejects.toMatchObject({ status: 400 });
});
