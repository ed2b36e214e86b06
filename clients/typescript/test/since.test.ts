import { describe, expect, test } from "vitest";
import type { Client, ClientOptions, Since } from "../src/index.js";
import { fake, pass, turns } from "./fake.js";

/** collect begins to read a topic, and returns the data that comes. */
function collect(client: Client, since?: Since, name = "t"): unknown[] {
  const got: unknown[] = [];
  client.topic(name, { since }).on("event", ({ data }) => got.push(data));
  return got;
}

/** The ways in which a topic finds a stream whose cursor is older than its newest events. */
const ways: Record<string, (options: Partial<ClientOptions>) => Promise<ReturnType<typeof fake>>> = {
  "a stream of quiet topics": async (options) => {
    const all = fake(options);
    await all.client.topic("quiet").ready;
    return all;
  },
  "a stream that carries it already": async (options) => {
    const all = fake(options);
    await all.client.topic("t").ready;
    return all;
  },
  "a stream that is away": async (options) => {
    const all = fake(options);
    await all.client.topic("quiet").ready;
    all.server.away();
    await pass(1);
    return all;
  },
  "the cursor of a client before": async (options) => fake({ cursor: "0000000001.0", ...options }),
};

// CL-4: `since` says where a topic begins, whatever the cursor of the stream is.
describe.each(Object.keys(ways))("a topic that joins %s begins where it is told to", (way) => {
  const restored = way.startsWith("the cursor");
  const table: [string, (ids: string[], time: number) => Since | undefined, number[]][] = [
    ["now", () => undefined, restored ? [1, 2, 3, 4, 5, 6] : [5, 6]], // a client with a cursor goes on there
    ["latest", () => "latest", [4, 5, 6]],
    ["all", () => "all", [1, 2, 3, 4, 5, 6]],
    ["the second", (ids) => ids[1], [3, 4, 5, 6]],
    ["the fourth", (ids) => ids[3], [5, 6]],
    ["a time", (_, time) => new Date(time - 25), [3, 4, 5, 6]],
    ["the present", (_, time) => new Date(time), [5, 6]],
  ];
  const cases = [true, false].flatMap((meanwhile) => table.map((row) => [...row, meanwhile] as const));
  test.each(cases)("%s", async (what, since, wanted, meanwhile) => {
    const { server, client } = await ways[way]!({});
    const ids: string[] = [];
    for (const n of [1, 2, 3, 4]) {
      ids.push(server.publish("t", n).id);
      server.publish("other", n);
      await pass(10);
    }
    const got = collect(client, since(ids, Date.now()));
    if (meanwhile) server.publish("t", 5); // before the stream knows of it
    await pass(50);
    server.back();
    await pass(1000);
    if (!meanwhile) server.publish("t", 5);
    server.publish("t", 6);
    await pass(0);
    if (what === "latest" && got[0] === 5) got.unshift(4); // the newest one when the node answers
    expect(got).toEqual(wanted);
  });
});

test("a topic that begins anew after the id of the last one that was handled gets nothing twice", async () => {
  const { server, client } = fake();
  await client.topic("quiet").ready;
  const first = client.topic("t");
  const handled: unknown[] = [];
  let id: string | undefined;
  first.on("event", (event) => {
    handled.push(event.data);
    id = event.id;
  });
  await first.ready;
  for (const n of [1, 2, 3]) server.publish("t", n);
  await turns();
  first.close();
  await pass(500);
  const got = collect(client, id);
  await pass(500);
  server.publish("t", 4);
  await turns();
  expect([handled, got]).toEqual([[1, 2, 3], [4]]);
});

// CL-4: the cursor is the id up to which all has come.
describe("while a topic reads its history", () => {
  test.each(["running", "closed"])("a client that goes on from the cursor of one that is %s has all", async (how) => {
    const { server, client } = fake();
    for (let n = 1; n <= 4; n++) server.publish("t", n);
    server.handle("GET", "/v1/apps/a/topics/t/events", () => new Promise(() => {})); // it does not come
    const got = collect(client, "all");
    await turns();
    if (how === "closed") client.close();
    const next = fake({ cursor: client.cursor!, fetch: server.fetch });
    const rest = collect(next.client);
    await turns();
    expect([got, rest]).toEqual([[], [1, 2, 3, 4]]);
  });

  test("the cursor is that of the topic, and at last that of the stream", async () => {
    const { server, client } = fake();
    const events = [1, 2, 3, 4].map((n) => server.publish("t", n));
    let answer!: (events: unknown[]) => void;
    let asked = 0;
    server.handle("GET", "/v1/apps/a/topics/t/events", () => {
      asked++;
      return new Promise((resolve) => (answer = (page) => resolve(Response.json({ events: page, next: asked === 1 ? "/v1/apps/a/topics/t/events?page=2" : null }))));
    });
    const got = collect(client, events[0]!.id);
    client.topic("other");
    const cursors = [];
    await turns();
    cursors.push(client.cursor);
    answer(events.slice(1, 3));
    await turns();
    cursors.push(client.cursor);
    answer(events.slice(3));
    await turns();
    cursors.push(client.cursor);
    const { id } = server.publish("other", 5);
    await turns();
    expect([cursors, client.cursor, got]).toEqual([[events[0]!.id, events[2]!.id, events[3]!.id], id, [2, 3, 4]]);
  });

  test("whose newest event alone is wanted, the cursor is that of the stream", async () => {
    const { server, client } = fake({ cursor: "0000000001.0" });
    for (const n of [1, 2, 3]) server.publish("t", n);
    server.handle("GET", "/v1/apps/a/topics/t/events", () => new Promise(() => {}));
    collect(client, "latest");
    await turns();
    expect(client.cursor).toBe("0000000001.3");
  });
});

// RT-6: events of other nodes are live only, and have a history of their own.
test.each([
  ["now", undefined, ["far", 3]],
  ["latest", "latest", ["far", 2, 3]],
])("an event of another node does not end the history of a topic that begins %s", async (_, since, wanted) => {
  const event = (id: string, data: unknown, more = {}): object => ({ id, topic: "t", data, published_at: "2026-01-01T00:00:00Z", source: "s", ...more });
  const hello = { node: "n", topics: ["t"], heartbeat_sec: 30, resume: "0000000001.0", newest: "0000000001.2", time: "2026-01-02T00:00:00Z", resumed: true };
  const events = [event("00000000ff.9", "far", { node: "far" }), ...[1, 2, 3].map((n) => event("0000000001." + n, n))];
  const text = `event: hello\ndata: ${JSON.stringify(hello)}\n\n` + events.map((each) => `data: ${JSON.stringify(each)}\n\n`).join("");
  const { client } = fake({
    fetch: async (url) => {
      if (String(url).includes("since=latest")) return Response.json({ events: [events[2]], next: null });
      const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode(text)) });
      return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
    },
  });
  const got = collect(client, since);
  await turns();
  expect(got).toEqual(wanted);
});

test("what a stream brings while a topic reads its history is read there when it is too much to keep", async () => {
  const { server } = fake();
  server.publish("t", 0);
  let away = true;
  const { client } = fake({
    fetch: async (url, init) => (away && String(url).includes("since=") ? new Response("", { status: 503 }) : server.fetch(url, init)),
  });
  const got = collect(client, "all");
  await pass(2000);
  for (let n = 1; n <= 2500; n++) {
    server.publish("t", n);
    if (n % 500 === 0) await turns();
  }
  expect(got).toEqual([]);
  away = false;
  await pass(30_000);
  server.publish("t", 2501);
  await turns();
  expect(got).toEqual(Array.from({ length: 2502 }, (_, n) => n));
});

test("of what cannot be read again a gap tells how much is missing", async () => {
  const { server, client } = fake();
  server.handle("GET", "/v1/apps/a/topics/t/events", () => new Response("", { status: 503 }));
  const topic = client.topic("t", { since: "all" });
  const gaps: unknown[] = [];
  topic.on("gap", (gap) => gaps.push(gap));
  await topic.ready;
  const far = { topic: "t", data: 1, published_at: "2026-01-01T00:00:00Z", source: "s", node: "far" };
  server.streams[0]!.send(Array.from({ length: 1001 }, (_, n) => `data: ${JSON.stringify({ ...far, id: "00000000ff." + n })}\n\n`).join(""));
  await turns();
  expect(gaps).toEqual([{ missed: 1001 }]);
});

test("a cursor that is no id is one of another history", async () => {
  for (const cursor of ["undefined", "a\0b", "é\r\n", "\ud83d"]) {
    const { client, log } = fake({ cursor });
    await client.topic("t").ready;
    await turns();
    expect(log).toContain("reset");
  }
});
