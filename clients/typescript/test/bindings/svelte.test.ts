// @vitest-environment happy-dom
import * as svelte from "svelte";
import { VERSION } from "svelte/compiler";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Client, createClient } from "../../src/index.js";
import { topicStore } from "../../src/svelte.js";
import { type FakeServer, fakeServer } from "../../src/testing.js";
import { turns } from "../fake.js";
import Store from "../svelte/Store.svelte";

/** What components of Svelte 4 are. */
type Legacy = new (options: { target: HTMLElement; props: object }) => { $destroy(): void };

const five = "mount" in svelte;
let server: FakeServer;
let client: Client;
let element: HTMLElement;
let unmount: () => void;

beforeEach(() => {
  server = fakeServer();
  client = createClient({ app: "a", url: "http://fake.test", fetch: server.fetch, share: false });
  element = document.createElement("div");
});

afterEach(() => client.close());

/** show mounts a component as Svelte 4 or 5 does it. */
async function show(component: typeof Store, props: object = {}): Promise<void> {
  const options = { target: element, props: { client, ...props } };
  if (five) {
    const mounted = svelte.mount(component, options);
    unmount = () => void svelte.unmount(mounted);
  } else {
    const mounted = new (component as unknown as Legacy)(options);
    unmount = () => mounted.$destroy();
  }
  await settle();
}

/** settle lets everything happen that follows from what was done. */
async function settle(): Promise<void> {
  await turns();
  await svelte.tick();
  await new Promise((resolve) => setTimeout(resolve)); // what waits for the next turn of timers
  await turns();
}

test("this is the Svelte that is meant", () => expect(VERSION).toMatch(RegExp(`^${process.env.SVELTE}\\.`)));

const text = (): string => element.querySelector("p")?.textContent?.trim() ?? "";

// CL-6: a component of Svelte 4 and of Svelte 5.
test("a store is shown while its component is, with one stream, and none is left", async () => {
  await show(Store, { initial: 0 });
  expect(text()).toMatch(/^0 open/);
  server.publish("door", 1);
  await settle();
  expect(text()).toMatch(/^1 open/);
  server.drop();
  await settle();
  expect(text()).toMatch(/^1 stale/);
  expect(server.requests).toHaveLength(1);
  unmount();
  await settle();
  expect([server.streams.length, client.state.name]).toEqual([0, "idle"]);
});

test("a storm of mounts leaves one stream, and none at the end", async () => {
  for (let i = 0; i < 10; i++) {
    await show(Store);
    if (i % 2) await settle();
    unmount();
    await show(Store);
    const first = unmount;
    await show(Store);
    first();
    expect(server.streams.length).toBe(1);
    unmount();
  }
  await settle();
  expect([server.streams.length, client.state.name]).toEqual([0, "idle"]);
});

test("an error of the topic is shown", async () => {
  server.refuse(404, { type: "topic-not-found" });
  await show(Store);
  expect(text()).toContain("topic-not-found");
  unmount();
});

test("a store whose topic has ended reads it anew when it is taken out and put back at once", async () => {
  server.refuse(404, { type: "topic-not-found" });
  const store = topicStore<number>(client, "door", { since: "latest" });
  const views: (string | number | undefined)[] = [];
  const subscribe = (): (() => void) => store.subscribe(({ data, error }) => views.push(error?.type ?? data));
  const off = subscribe();
  await settle();
  expect(views.at(-1)).toBe("topic-not-found");
  off();
  const again = subscribe();
  expect(views.at(-1)).toBe(undefined);
  await settle();
  server.publish("door", 1);
  await settle();
  expect([views.at(-1), server.streams.length]).toEqual([1, 1]);
  again();
  await settle();
  expect(client.state.name).toBe("idle");
});

// CL-6: the class on createSubscriber, which Svelte 4 does not have.
if (five) {
  test("the fields of a ReactiveTopic are shown while something depends on them, and no stream is left", async () => {
    const { default: Reactive } = await import("../svelte/Reactive.svelte");
    await show(Reactive, { initial: 0 });
    expect(text()).toMatch(/^0 0 open/);
    const { id } = server.publish("door", 4);
    await settle();
    expect(text()).toMatch(/^4 8 open/);
    expect(text()).toContain(id);
    const button = element.querySelector("button")!;
    button.click(); // nothing shows it any more …
    await settle();
    expect([text(), server.streams.length, client.state.name]).toEqual(["", 0, "idle"]);
    button.click(); // … and again
    await settle();
    expect(text()).toMatch(/^4 8 open/);
    expect(server.streams).toHaveLength(1);
    server.drop();
    await settle();
    expect(text()).toMatch(/^4 8 stale/);
    unmount();
    await settle();
    expect([server.streams.length, client.state.name]).toEqual([0, "idle"]);
  });

  test("a storm of mounts of a ReactiveTopic leaves none", async () => {
    const { default: Reactive } = await import("../svelte/Reactive.svelte");
    for (let i = 0; i < 10; i++) {
      await show(Reactive);
      element.querySelector("button")!.click();
      unmount();
      await show(Reactive);
      unmount();
    }
    await settle();
    expect([server.streams.length, client.state.name]).toEqual([0, "idle"]);
  });
}
