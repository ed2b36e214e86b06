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

/** open opens a tab that reads a topic. */
async function open(name = "t", options: Partial<ClientOptions> = {}, since?: string): Promise<Tab> {
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
  client.topic(name, { since }).on("event", (event) => got.push(event.data));
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

test("a tab that reads nothing any more leads no one, and the other goes on", async () => {
  const a = await open();
  await pass(1000);
  await open();
  a.client.close();
  await pass(1000);
  server.publish("t", 1);
  await turns();
  expect([tabs[1]!.got, tabs[1]!.client.state.leader]).toEqual([[1], true]);
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
