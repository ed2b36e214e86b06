import { expect, onTestFinished, test, vi } from "vitest";
import { topicStore } from "../src/svelte.js";
import { fake, turns } from "./fake.js";

// CL-6: the store contract: the value at once, then each change; the last one to go ends the topic.
test("a store reads while it is subscribed to", async () => {
  vi.stubGlobal("window", {});
  onTestFinished(() => void vi.unstubAllGlobals());
  const { server, client } = fake();
  const door = topicStore<number>(client, "door", { initial: 0 });
  const seen: unknown[] = [];
  const off = door.subscribe(({ data }) => seen.push(data));
  expect(seen).toEqual([0]);
  const other = door.subscribe(() => {});
  await turns();
  server.publish("door", 1);
  await turns();
  expect([seen.at(-1), server.streams.length]).toEqual([1, 1]);
  off();
  other();
  const again = door.subscribe(({ data }) => seen.push(data));
  await vi.advanceTimersByTimeAsync(0);
  await turns();
  expect([seen.at(-1), server.requests.length]).toEqual([1, 1]); // what was shown stays, and so does the topic
  again();
  await vi.advanceTimersByTimeAsync(0);
  await turns();
  expect([server.streams.length, client.state.name]).toEqual([0, "idle"]);
});

test("a server reads the first value, and asks nobody", async () => {
  const { server, client } = fake();
  const seen: unknown[] = [];
  topicStore(client, "door", { initial: 7 }).subscribe(({ data }) => seen.push(data))();
  await turns();
  expect([seen, server.requests.length]).toEqual([[7], 0]);
});
