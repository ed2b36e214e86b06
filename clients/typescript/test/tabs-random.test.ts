import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Client, createClient, type Topic } from "../src/index.js";
import "../src/streaming.js";
import { fakeServer } from "../src/testing.js";
import { page, pass, turns } from "./fake.js";

/** A topic that a tab reads, and what has come. */
interface Read {
  topic: Topic<number>;
  got: number[];
  over: boolean;
}

const topics = 150;
const span = { from: fc.nat(topics - 1), n: fc.integer({ min: 1, max: 45 }) };
const tab = fc.nat(4);
const step = fc.oneof(
  fc.record({ kind: fc.constant("read" as const), tab, ...span, latest: fc.boolean() }),
  fc.record({ kind: fc.constant("stop" as const), tab, n: span.n }),
  fc.record({ kind: fc.constant("close" as const), tab }),
  fc.record({ kind: fc.constantFrom("drop", "away", "back", "busy", "pagehide", "pageshow", "online") }),
  fc.record({ kind: fc.constant("publish" as const), ...span }),
  fc.record({ kind: fc.constant("pass" as const), ms: fc.nat(1500), whole: fc.boolean() }),
);

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] }));
afterEach(() => void vi.useRealTimers());

// CL-4: whatever tabs read, beyond what fits on a stream, too, and in whatever order they come and go, each topic has each event once and in order.
test.each([true, false])("tabs that come and go, and read more and less, miss nothing and get nothing twice; shared: %s", async (share) => {
  const { fire } = page();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const server = fakeServer({ heartbeat: 3000 });
      const newest = new Map<string, number>();
      const publish = (from: number, n: number): void => {
        for (let i = from; i < from + n; i++) {
          const name = "t" + (i % topics);
          newest.set(name, (newest.get(name) ?? 0) + 1);
          server.publish(name, newest.get(name));
        }
      };
      const tabs = new Map<number, { client: Client; reads: Read[] }>();
      const open = (at: number): { client: Client; reads: Read[] } => {
        vi.setSystemTime(Date.now() + 1); // the next one is younger
        const opened = { client: createClient({ app: "a", url: "http://fake.test", fetch: server.fetch, share }), reads: [] };
        tabs.set(at, opened);
        return opened;
      };
      const read = (client: Client, name: string, latest: boolean): Read => {
        const it: Read = { topic: client.topic<number>(name, latest ? { since: "latest" } : {}), got: [], over: false };
        it.topic.on("event", ({ data }) => it.got.push(data));
        it.topic.on("close", () => (it.over = true));
        return it;
      };
      try {
        for (const it of steps) {
          if (it.kind === "read") {
            const { client, reads } = tabs.get(it.tab) ?? open(it.tab);
            for (let i = it.from; i < it.from + it.n; i++) reads.push(read(client, "t" + (i % topics), it.latest));
          } else if (it.kind === "stop") for (const { topic } of tabs.get(it.tab)?.reads.splice(0, it.n) ?? []) topic.close();
          else if (it.kind === "close") {
            tabs.get(it.tab)?.client.close();
            tabs.delete(it.tab);
          } else if (it.kind === "publish") publish(it.from, it.n);
          else if (it.kind === "pass") {
            await pass(it.ms);
            if (it.whole) await turns();
          } else if (it.kind === "busy") server.refuse(503, { retryAfter: 3 });
          else if (it.kind === "drop" || it.kind === "away" || it.kind === "back") server[it.kind]();
          else fire("window", it.kind);
          await new Promise((resolve) => setImmediate(resolve)); // messages of tabs may be on their way at the next step
        }
        server.back();
        fire("window", "pageshow");
        for (let i = 0; i < 12; i++) await pass(5000); // longer than any wait
        publish(0, topics);
        await turns();
        await turns();
        for (const { client, reads } of tabs.values()) {
          expect(client.state.name).toBe(reads.length ? "open" : "idle");
          for (const { topic, got, over } of reads) {
            const last = newest.get(topic.name)!;
            expect([over, got.at(-1)]).toEqual([false, last]);
            expect(got).toEqual(Array.from(got, (_, i) => last - got.length + 1 + i));
          }
        }
      } finally {
        for (const { client } of tabs.values()) client.close();
        await turns();
      }
    }),
    { numRuns: Number(process.env.RUNS ?? 20) },
  );
});
