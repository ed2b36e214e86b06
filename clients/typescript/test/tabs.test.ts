import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Client, type ClientOptions, createClient } from "../src/index.js";
import { type FakeServer, fakeServer } from "../src/testing.js";
import { page, pass, turns } from "./fake.js";

/** A tab: a client with a channel of its own, which can crash. */
interface Tab {
  client: Client;
  got: unknown[];
  /** crash ends the tab without a word to the others. */
  crash(): void;
}

const Real = globalThis.BroadcastChannel;
let server: FakeServer;
let tabs: Tab[];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  server = fakeServer();
  tabs = [];
});

afterEach(async () => {
  for (const { client } of tabs) client.close();
  await turns();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** open opens a tab that reads topics. */
async function open(names: string | string[] = "t", options: Partial<ClientOptions> = {}, since?: string): Promise<Tab> {
  const aborted = new AbortController();
  let channel: BroadcastChannel | undefined;
  vi.stubGlobal("BroadcastChannel", class extends Real {
    constructor(n: string) {
      super(n);
      channel = this;
    }
  });
  const fetcher: typeof fetch = (input, init) => server.fetch(input, { ...init, signal: AbortSignal.any([init!.signal!, aborted.signal]) });
  const client = createClient({ app: "a", url: "http://fake.test", fetch: fetcher, share: true, ...options });
  const got: unknown[] = [];
  for (const name of [names].flat()) client.topic(name, { since }).on("event", (event) => got.push(event.data));
  await turns();
  const tab = {
    client,
    got,
    crash() {
      channel!.postMessage = () => {};
      channel!.onmessage = null;
      aborted.abort(new TypeError("crashed"));
    },
  };
  tabs.push(tab);
  vi.setSystemTime(Date.now() + 1); // the next one is younger
  return tab;
}

/** names returns n names of topics. */
const names = (prefix: string, n: number): string[] => Array.from({ length: n }, (_, i) => prefix + i);

const leaders = (): Tab[] => tabs.filter(({ client }) => client.state.leader && client.state.name === "open");

// CL-4: one stream per browser.
test("eight tabs have one stream, and all get the same", async () => {
  for (let i = 0; i < 8; i++) await open();
  await pass(1000);
  expect([server.streams.length, leaders()]).toEqual([1, [tabs[0]]]);
  for (let i = 0; i < 100; i++) server.publish("t", i);
  await turns();
  for (const { got, client } of tabs) {
    expect(got).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect([client.state.name, client.cursor]).toEqual(["open", tabs[0]!.client.cursor]);
  }
});

test("tabs that open at the same moment agree", async () => {
  await Promise.all([open(), open(), open(), open()]);
  await pass(2000);
  expect([server.streams.length, leaders().length]).toEqual([1, 1]);
});

test("the leader's stream carries the topics of all, and those of tabs that are gone no more", async () => {
  await open("a");
  await pass(1000);
  const b = await open("b");
  await turns();
  server.publish("a", 1);
  server.publish("b", 2);
  await turns();
  expect(tabs.map((tab) => tab.got)).toEqual([[1], [2]]);
  expect(server.streams.map((s) => s.topics)).toEqual([["a", "b"]]);
  b.client.close();
  await pass(50);
  expect(server.streams.map((s) => s.topics)).toEqual([["a"]]);
});

test.each(["close", "crash"] as const)("a tab takes over after the leader's %s, and misses nothing", async (how) => {
  for (let i = 0; i < 4; i++) await open();
  await pass(1000);
  server.publish("t", 1);
  await turns();
  if (how === "close") tabs[0]!.client.close();
  else tabs[0]!.crash();
  await turns();
  server.publish("t", 2); // while there is none
  await pass(how === "close" ? 300 : 2000);
  await pass(10);
  const rest = tabs.slice(1);
  server.publish("t", 3);
  await turns();
  expect(rest.map((tab) => tab.got)).toEqual([[1, 2, 3], [1, 2, 3], [1, 2, 3]]);
  expect(rest.filter(({ client }) => client.state.leader)).toHaveLength(1);
  expect(server.streams).toHaveLength(1);
});

test("a leader that was frozen finds another one, and nothing is missing or doubled", async () => {
  for (let i = 0; i < 3; i++) await open();
  await pass(1000);
  server.publish("t", 1);
  await turns();
  // The others do not hear it for a while.
  tabs[0]!.crash();
  await pass(3000);
  expect(leaders().length).toBeGreaterThan(0);
  server.publish("t", 2);
  await turns();
  expect(tabs.slice(1).map((tab) => tab.got)).toEqual([[1, 2], [1, 2]]);
});

test("a tab that comes later gets the newest event, the others not again", async () => {
  server.publish("t", 1);
  const first = await open("t", {}, "latest");
  await pass(1000);
  const second = await open("t", {}, "latest");
  await turns();
  server.publish("t", 2);
  await turns();
  expect([first.got, second.got]).toEqual([[1, 2], [1, 2]]);
  expect(server.streams).toHaveLength(1);
});

test.each([0, 1, 3])("a tab that closes a topic before it is on a stream, after %i turns, reads the other", async (n) => {
  await open();
  const { client, got } = await open([]);
  const closed = client.topic("a", { since: "latest" });
  client.topic("b", { since: "latest" }).on("event", ({ data }) => got.push(data));
  for (let i = 0; i < n; i++) await new Promise((resolve) => setImmediate(resolve));
  closed.close();
  await pass(1000);
  server.publish("b", 1);
  await turns();
  expect([client.state.name, got]).toEqual(["open", [1]]);
});

test("a tab with an older cursor gets what it has missed, the others not again", async () => {
  const { id } = server.publish("t", 1);
  const first = await open();
  await pass(1000);
  server.publish("t", 2);
  await turns();
  const second = await open("t", { cursor: id });
  await turns();
  server.publish("t", 3);
  await turns();
  expect([first.got, second.got]).toEqual([[2, 3], [2, 3]]);
});

test("a tab with a cursor of another history is told", async () => {
  await open();
  await pass(1000);
  const { client } = await open("t", { cursor: "0000000009.7" });
  const resets: unknown[] = [];
  client.on("reset", (reset) => resets.push(reset));
  await turns();
  expect(resets).toEqual([]); // it was told before this listener was there
  expect([client.state.name, client.cursor]).toEqual(["open", "0000000001.0"]);
});

test.each(["now", "latest", "the third"])("a tab that reads what the leader does not begins at %s", async (where) => {
  await open("quiet");
  const ids = [];
  for (const n of [1, 2, 3, 4]) {
    ids.push(server.publish("t", n).id);
    vi.setSystemTime(Date.now() + 10);
  }
  const tab = await open("t", {}, { now: undefined, latest: "latest", "the third": ids[2] }[where]);
  await pass(1000);
  server.publish("t", 5);
  await pass(0);
  expect(tab.got).toEqual({ now: [5], latest: [4, 5], "the third": [4, 5] }[where]);
  expect(server.streams).toHaveLength(1);
});

test("a tab that reads what the leader reads again begins now, while old events still come", async () => {
  const first = await open(["t", "quiet"]);
  await pass(1000);
  server.away();
  await turns();
  for (const n of [1, 2, 3]) server.publish("t", n);
  server.back();
  vi.setSystemTime(Date.now() + 10);
  await pass(1000);
  const tab = await open("t");
  await pass(1000);
  server.publish("t", 4);
  await turns();
  expect([first.got, tab.got]).toEqual([[1, 2, 3, 4], [4]]);
});

test("a tab whose topic the node refuses goes alone", async () => {
  await open("a");
  await pass(1000);
  server.refuse(404, { type: "topic-not-found" }, 2);
  const b = await open("b");
  await pass(1000);
  server.publish("a", 1);
  await turns();
  expect([tabs[0]!.got, tabs[0]!.client.state.name, b.client.state.name]).toEqual([[1], "open", "stopped"]);
});

test("a topic that is read while its tab is put aside waits for the tab to come back", async () => {
  const { fire } = page();
  const { client } = await open("a");
  await pass(1000);
  fire("window", "pagehide");
  await turns();
  const got: unknown[] = [];
  client.topic("b").on("event", (event) => got.push(event.data));
  await pass(10_000);
  expect([client.state.name, server.streams.length]).toEqual(["paused", 0]);
  fire("window", "pageshow");
  await pass(1000);
  server.publish("b", 1);
  await turns();
  expect([client.state.name, got]).toEqual(["open", [1]]);
});

test("tabs with other rights, and those that do not share, have their own stream", async () => {
  await open("t", { token: "pck_a" });
  await pass(1000);
  await open("t", { token: "pck_b" });
  await open("t", { token: "pck_a", share: false });
  await pass(1000);
  expect(server.streams).toHaveLength(3);
});

test("followers tell the leader's states", async () => {
  for (let i = 0; i < 2; i++) await open();
  await pass(1000);
  const states: string[] = [];
  tabs[1]!.client.on("state", (state) => states.push(state.name));
  server.drop();
  await turns();
  await pass(1000);
  for (let i = 0; i < 10; i++) {
    server.publish("t", i);
    await turns();
  }
  expect([states, tabs[1]!.got.length]).toEqual([["waiting", "connecting", "open"], 10]);
});

test.each(["topic", "client"])("a tab that has closed its %s leads no one, and the other goes on", async (which) => {
  const a = await open([]);
  const topic = a.client.topic("a");
  await pass(1000);
  await open();
  await pass(1000);
  (which === "topic" ? topic : a.client).close();
  await turns();
  expect(a.client.state.name).toBe(which === "topic" ? "idle" : "closed");
  if (which === "topic") expect([a.client.cursor, server.streams.length]).toEqual([null, 0]);
  server.publish("t", 1);
  await pass(1000);
  server.publish("t", 2);
  await turns();
  expect([tabs[1]!.got, tabs[1]!.client.state.leader]).toEqual([[1, 2], true]);
  expect(server.streams.map((stream) => stream.topics)).toEqual([["t"]]);
});

// A node takes 64 topics on a stream.
test("tabs whose topics do not fit on one stream share others, and end for no other", async () => {
  await Promise.all(["a", "b", "c", "d"].map((prefix) => open(names(prefix, 30))));
  await pass(3000);
  expect(tabs.map(({ client }) => client.state.name)).toEqual(["open", "open", "open", "open"]);
  expect(server.streams.map(({ topics }) => topics.length)).toEqual([60, 60]);
  for (const prefix of ["a", "b", "c", "d"]) for (const name of names(prefix, 30)) server.publish(name, name);
  await turns();
  expect(tabs.map(({ got }) => got)).toEqual(["a", "b", "c", "d"].map((prefix) => names(prefix, 30)));
});

test("a leader or a follower that reads more makes the stream too small for the one that reads more or came last", async () => {
  const a = await open(names("a", 20));
  await pass(1000);
  const b = await open(names("b", 20));
  await pass(1000);
  const c = await open(names("c", 20));
  await pass(1000);
  expect(server.streams.map(({ topics }) => topics.length)).toEqual([60]);
  for (const name of names("more", 10)) b.client.topic(name).on("event", (event) => b.got.push(event.data));
  server.publish("b0", 1);
  await pass(1000);
  expect(server.streams.map(({ topics }) => topics.length)).toEqual([40, 30]);
  for (const name of names("even", 30)) a.client.topic(name).on("event", (event) => a.got.push(event.data));
  server.publish("c0", 1);
  await pass(1000);
  for (const name of ["a0", "b0", "c0", "more0", "even0"]) server.publish(name, 2);
  await turns();
  expect([a.got, b.got, c.got]).toEqual([[2, 2], [1, 2, 2], [1, 2]]);
  expect(server.streams.map(({ topics }) => topics.length)).toEqual([50, 50]);
  expect([a, b, c].map(({ client }) => client.state.name)).toEqual(["open", "open", "open"]);
});

test("a tab that has been elsewhere is back when it has read nothing for a moment", async () => {
  await open(names("a", 40));
  await pass(1000);
  const b = await open([]);
  const topics = names("b", 40).map((name) => b.client.topic(name));
  await pass(1000);
  expect(server.streams.map(({ topics }) => topics.length)).toEqual([40, 40]);
  for (const topic of topics) topic.close();
  await turns();
  b.client.topic("b0");
  await pass(1000);
  expect(server.streams.map(({ topics }) => topics.length)).toEqual([41]);
});

test("a tab that has crashed is forgotten, also when no other says anything", async () => {
  await open("mine");
  await pass(1000);
  const b = await open("theirs");
  await pass(1000);
  b.crash();
  await pass(100_000);
  server.streams[0]!.send(": heartbeat\n\n");
  expect(server.streams.map(({ topics }) => topics)).toEqual([["mine", "theirs"]]); // it may be asleep
  await pass(60_000);
  server.streams[0]?.send(": heartbeat\n\n");
  await pass(150_000);
  expect(server.streams.map(({ topics }) => topics)).toEqual([["mine"]]);
});

test("tabs that are put aside by the browser let the stream go, and come back where they were", async () => {
  const { fire } = page();
  for (let i = 0; i < 3; i++) await open();
  await pass(1000);
  server.publish("t", 1);
  await turns();
  fire("window", "pagehide");
  await turns();
  expect([server.streams.length, tabs.map(({ client }) => client.state.name)]).toEqual([0, ["paused", "paused", "paused"]]);
  server.publish("t", 2);
  await pass(60_000);
  expect(server.streams).toHaveLength(0);
  fire("window", "pageshow");
  await pass(1000);
  server.publish("t", 3);
  await turns();
  expect([server.streams.length, leaders().length]).toEqual([1, 1]);
  expect(tabs.map((tab) => tab.got)).toEqual([[1, 2, 3], [1, 2, 3], [1, 2, 3]]);
});
