import { expect, onTestFinished, test, vi } from "vitest";
import { createClient } from "../src/index.js";
import { fakeServer } from "../src/testing.js";
import { expected, play } from "./requests.js";

// daemon.test.ts plays the same requests against a real node.
test("the fake server answers as a node does", async () => {
  const server = fakeServer();
  expect(await play(server.fetch)).toEqual(expected);
  expect(server.streams).toEqual([]); // they were left
});

test("the fake server remembers an idempotency key for a day, and not in another history", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const server = fakeServer();
  const client = createClient({ app: "a", url: "http://fake.test", fetch: server.fetch });
  const publish = async (data: unknown): Promise<string> => (await client.publish("door", data, { idempotencyKey: "k" })).id;
  const first = await publish(1);
  vi.setSystemTime(Date.now() + 86_399_999);
  expect(await publish(1)).toBe(first);
  await expect(publish(2)).rejects.toMatchObject({ type: "idempotency-key-reused", status: 422, fatal: true });
  vi.setSystemTime(Date.now() + 1);
  const second = await publish(2);
  expect(second).not.toBe(first);
  server.forget();
  expect(await publish(2)).not.toBe(second);
});

test("the fetch of a fake server takes a Request, as fetch does", async () => {
  const server = fakeServer();
  const stop = new AbortController();
  const url = "http://fake.test/v1/apps/a/topics/door/events";
  const answer = await server.fetch(new Request(url, { method: "POST", body: "1", headers: { "Content-Type": "application/json" } }));
  expect(answer.status).toBe(201);
  const stream = await server.fetch(new Request(url, { headers: { Accept: "text/event-stream" }, signal: stop.signal }));
  expect(server.streams).toHaveLength(1);
  stop.abort();
  expect(server.streams).toEqual([]);
  await expect(stream.text()).rejects.toThrow("aborted");
});
