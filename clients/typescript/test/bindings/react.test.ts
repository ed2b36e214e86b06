// @vitest-environment happy-dom
import { act, createElement, StrictMode, useState, version } from "react";
import { createRoot, hydrateRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Client, createClient, type Endpoint } from "../../src/index.js";
import { type EndpointView, PicloudProvider, useEndpoint, usePicloud, useTopic } from "../../src/react.js";
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

test("a name and options that change in one render belong together", async () => {
  server.publish("b", "newest of b");
  let set!: (options: { name: string; since?: "latest"; initial: string }) => void;
  const shown: unknown[] = [];
  const Room = (): string => {
    const [{ name, ...options }, setOptions] = useState<Parameters<typeof set>[0]>({ name: "a", initial: "initial of a" });
    set = setOptions;
    const { data } = useTopic<string>(name, options);
    shown.push(data);
    return "" + data;
  };
  await show(Room);
  expect(element.textContent).toBe("initial of a");
  shown.length = 0;
  await happen(() => set({ name: "b", since: "latest", initial: "initial of b" }));
  expect([...new Set(shown)]).toEqual(["initial of b", "newest of b"]);
  expect(server.requests.flatMap((request) => request.url.searchParams.getAll("latest"))).toEqual(["b"]);
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

test("an endpoint is not loading any more after abort, after skip, and when the component has other arguments", async () => {
  const answers: ((n: number) => void)[] = [];
  const signals: AbortSignal[] = [];
  const endpoint: Endpoint<{ n: number }, number> = (_, options) => {
    signals.push(options!.signal!);
    return new Promise((resolve, reject) => {
      answers.push(resolve);
      options!.signal!.addEventListener("abort", () => reject(options!.signal!.reason));
    });
  };
  let view!: EndpointView<{ n: number }, number>;
  let set!: (state: { n?: number; skip?: boolean }) => void;
  const Order = (): string => {
    const [{ n, skip }, setState] = useState<{ n?: number; skip?: boolean }>({});
    set = setState;
    view = useEndpoint(endpoint, n === undefined ? undefined : { n }, { skip });
    return `${view.data} ${view.loading} ${view.error}`;
  };
  await show(Order);
  await happen(() => void view.run({ n: 1 }).catch(() => {}));
  expect(element.textContent).toBe("undefined true undefined");
  await happen(() => view.abort());
  expect([element.textContent, signals.every((signal) => signal.aborted)]).toEqual(["undefined false undefined", true]);
  await happen(() => set({ n: 2 }));
  expect(element.textContent).toBe("undefined true undefined");
  await happen(() => set({ n: 2, skip: true }));
  expect([element.textContent, signals.every((signal) => signal.aborted)]).toEqual(["undefined false undefined", true]);
  await happen(() => set({ n: 3 }));
  expect(element.textContent).toBe("undefined true undefined");
  await happen(() => answers.at(-1)!(30));
  expect(element.textContent).toBe("30 false undefined");
  await happen(() => view.abort()); // nothing is under way
  expect(element.textContent).toBe("30 false undefined");
});

test("arguments that are no JSON are an error of the view, until others come", async () => {
  const endpoint = vi.fn<Endpoint<unknown, string>>().mockResolvedValue("answer");
  let set!: (args: unknown) => void;
  const Order = (): string => {
    const [args, setArgs] = useState<unknown>({ n: 1n });
    set = setArgs;
    const { data, loading, error } = useEndpoint(endpoint, args);
    return `${data} ${loading} ${(error as Error | undefined)?.name}`;
  };
  await show(Order);
  expect([element.textContent, endpoint.mock.calls]).toEqual(["undefined false InvalidError", []]);
  await happen(() => set({ n: 1 }));
  expect(element.textContent).toBe("answer false undefined");
});

test("the caller's signal ends a run, also one that has been aborted before, and keeps no listener", async () => {
  const signals: AbortSignal[] = [];
  const endpoint: Endpoint<number, number> = async (n, options) => {
    signals.push(options!.signal!);
    options!.signal!.throwIfAborted();
    if (n) return n;
    return new Promise((_, reject) => options!.signal!.addEventListener("abort", () => reject(options!.signal!.reason)));
  };
  let view!: EndpointView<number, number>;
  const Order = (): string => {
    view = useEndpoint(endpoint);
    return `${view.data} ${view.loading} ${view.error}`;
  };
  await show(Order);
  const { signal } = new AbortController();
  const added = vi.spyOn(signal, "addEventListener");
  const removed = vi.spyOn(signal, "removeEventListener");
  for (const n of [1, 2, 3]) await happen(() => void view.run(n, { signal }));
  expect(element.textContent).toBe("3 false undefined");
  expect(added.mock.calls).not.toEqual([]);
  expect(removed.mock.calls.map(([, listener]) => listener)).toEqual(added.mock.calls.map(([, listener]) => listener));

  const caller = new AbortController();
  let run!: Promise<unknown>;
  await happen(() => void (run = view.run(0, { signal: caller.signal }).catch((error) => error)));
  expect(view.loading).toBe(true);
  await happen(() => caller.abort("enough"));
  expect([await run, signals.at(-1)!.reason, view.loading, view.error]).toEqual(["enough", "enough", false, "enough"]);
  await happen(() => void (run = view.run(4, { signal: AbortSignal.abort("before") }).catch((error) => error)));
  expect([await run, signals.at(-1)!.reason, view.loading]).toEqual(["before", "before", false]);
});
