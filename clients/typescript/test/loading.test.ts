import { expect, test, vi } from "vitest";
import { fake, pass, turns } from "./fake.js";

/** loaded waits for a module to be loaded, or not: the loader of the tests says nothing when it is done. */
async function loaded(ok: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !ok(); i++) await turns(ok);
}

// CL-3: a part that cannot be loaded is a failure as that of a stream.
test("the part that makes streams is asked for again when it cannot be loaded", async () => {
  vi.doMock("../src/streaming.js", () => {
    throw new Error("away");
  });
  const { server, client, log } = fake();
  const got: unknown[] = [];
  client.topic("t", { since: "latest" }).on("event", (event) => got.push(event.data));
  server.publish("t", 1);
  await loaded(() => client.state.name === "waiting");
  expect(client.state).toMatchObject({ name: "waiting", stale: true, retryAt: Date.now() + 5000, error: { type: "network" } });
  vi.doUnmock("../src/streaming.js");
  await pass(5000);
  await loaded(() => got.length > 0);
  expect([log, got]).toEqual([["state:waiting", "error:network", "state:idle", "state:connecting", "state:open", "open"], [1]]);
});

test("a topic that is closed before the part is loaded, or a client, asks for nothing", async () => {
  const { server, client, log } = fake();
  client.topic("t").close();
  await turns();
  expect(log).toEqual([]);
  client.topic("t");
  client.close();
  await turns();
  expect([log, server.requests]).toEqual([["state:closed"], []]);
});
