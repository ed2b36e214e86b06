// @vitest-environment happy-dom
import { act, createElement, StrictMode, useState, version } from "react";
import { createRoot, hydrateRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Client, createClient, type Endpoint } from "../../src/index.js";
import { PicloudProvider, useEndpoint, usePicloud, useTopic } from "../../src/react.js";
import { type FakeServer, fakeServer } from "../../src/testing.js";
import { turns } from "../fake.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

let server: FakeServer;
let client: Client;
let root: Root;
let element: HTMLElement;

beforeEach(() => {
  server = fakeServer();
  client = createClient({ app: "a", url: "http://fake.test", fetch: server.fetch, share: false });
  element = document.createElement("div");
  root = createRoot(element);
});

afterEach(async () => {
  await act(async () => root.unmount());
  client.close();
});

/** show renders a component below a provider, strictly. */
async function show(component: () => unknown): Promise<void> {
  const Component = component as () => null;
  await act(async () => {
    root.render(createElement(StrictMode, null, createElement(PicloudProvider, { client }, createElement(Component))));
    await turns();
  });
}

/** happen does something and lets React show what follows. */
async function happen(f: () => void): Promise<void> {
  await act(async () => {
    f();
    await turns();
    await new Promise((resolve) => setTimeout(resolve)); // what waits for the next turn of timers
    await turns();
  });
}

test("this is the React that is meant", () => expect(version).toMatch(RegExp(`^${process.env.REACT}\\.`)));

// CL-6
test("a topic is shown, with one stream, each event once, in StrictMode", async () => {
  const renders: unknown[] = [];
  const Door = (): string => {
    const { data, stale, state } = useTopic<number, number[]>("door", { initial: [], reduce: (all, event) => [...all!, event.data] });
    renders.push(data);
    return `${data!.join()} ${stale ? "stale" : state.name}`;
  };
  await show(Door);
  expect(element.textContent).toBe(" open");
  await happen(() => [1, 2, 3].map((n) => server.publish("door", n)));
  expect(element.textContent).toBe("1,2,3 open");
  expect([server.requests.length, server.streams.length]).toEqual([1, 1]);
  await happen(() => server.drop());
  expect(element.textContent).toBe("1,2,3 stale");
});

test("a storm of mounts leaves one stream, and none at the end", async () => {
  let set!: (n: number) => void;
  const Door = (): string => "" + useTopic<number>("door").data;
  const Doors = (): unknown => {
    const [n, setN] = useState(0);
    set = setN;
    return Array.from({ length: n }, (_, i) => createElement(Door as unknown as () => null, { key: `${n}-${i}` }));
  };
  await show(Doors);
  for (const n of [5, 0, 3, 7, 0, 1, 4]) await act(async () => set(n));
  await happen(() => {});
  expect(server.streams).toHaveLength(1);
  await happen(() => server.publish("door", 1));
  expect(element.textContent).toBe("1111");
  await happen(() => set(0));
  await happen(() => {}); // React has taken them out at the end of the act before
  expect([server.streams.length, client.state.name]).toEqual([0, "idle"]);
});

test("new functions do not subscribe anew, and the newest is used; skip reads nothing", async () => {
  let set!: (state: { factor: number; skip: boolean }) => void;
  const Door = (): string => {
    const [{ factor, skip }, setState] = useState({ factor: 1, skip: true });
    set = setState;
    return "" + useTopic<number>("door", { skip, reduce: (_, event) => event.data * factor }).data;
  };
  await show(Door);
  expect([element.textContent, server.requests.length]).toEqual(["undefined", 0]);
  await happen(() => set({ factor: 2, skip: false }));
  await happen(() => server.publish("door", 1));
  expect(element.textContent).toBe("2");
  await happen(() => set({ factor: 3, skip: false }));
  await happen(() => server.publish("door", 1));
  expect([element.textContent, server.requests.length]).toEqual(["3", 1]);
});

test("an error of the topic is shown", async () => {
  server.refuse(404, { type: "topic-not-found" });
  const Door = (): string => "" + useTopic("door").error?.type;
  await show(Door);
  expect(element.textContent).toBe("topic-not-found");
});

test("a server renders what there is at first, and asks nobody", async () => {
  const Door = (): string => "" + useTopic<number>("door", { initial: 7 }).data;
  const html = renderToString(createElement(PicloudProvider, { client }, createElement(Door as unknown as () => null)));
  expect([html, server.requests.length]).toEqual(["7", 0]);
  expect(() => renderToString(createElement(Door as unknown as () => null))).toThrow("PicloudProvider");
});

test("what a server has rendered is taken over without a change, and then shows what comes", async () => {
  const Door = (): string => "" + useTopic<number>("door", { initial: 7 }).data;
  const tree = createElement(StrictMode, null, createElement(PicloudProvider, { client }, createElement(Door as unknown as () => null)));
  const page = document.createElement("div");
  page.innerHTML = renderToString(tree);
  const errors: unknown[] = [];
  let hydrated!: Root;
  await act(async () => {
    hydrated = hydrateRoot(page, tree, { onRecoverableError: (error) => errors.push(error) });
    await turns();
  });
  expect([page.textContent, server.streams.length]).toEqual(["7", 1]);
  await happen(() => server.publish("door", 8));
  expect([page.textContent, errors]).toEqual(["8", []]);
  await happen(() => hydrated.unmount());
  await happen(() => {});
  expect(server.streams).toHaveLength(0);
});

test("an endpoint: of several answers that of the last call counts", async () => {
  const answers: ((n: number) => void)[] = [];
  const endpoint: Endpoint<{ n: number }, number> = () => new Promise((resolve) => answers.push(resolve));
  let run!: (req: { n: number }) => Promise<number>;
  let set!: (n: number) => void;
  const Order = (): string => {
    usePicloud();
    const [n, setN] = useState(1);
    set = setN;
    const view = useEndpoint(endpoint, { n });
    run = view.run;
    return `${view.data} ${view.loading} ${view.error}`;
  };
  await show(Order);
  expect(element.textContent).toBe("undefined true undefined");
  await happen(() => answers.at(-1)!(10));
  expect(element.textContent).toBe("10 false undefined");
  await happen(() => set(2));
  await happen(() => void run({ n: 3 }));
  await happen(() => answers.at(-1)!(30));
  await happen(() => answers.at(-2)!(20)); // too late
  expect(element.textContent).toBe("30 false undefined");
});
