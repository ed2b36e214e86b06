import { describe, expect, test, vi } from "vitest";
import { createClient, InvalidError, TimeoutError } from "../src/index.js";
import { mintToken } from "../src/server.js";
import { fake, pass, turns } from "./fake.js";

const client = (answer: (url: string) => Response | Promise<Response>, more = {}) =>
  createClient({ app: "a", url: "http://fake.test", fetch: (url: unknown) => Promise.resolve(answer(String(url))), share: false, ...more } as never);

describe("an answer that is none of a node", () => {
  const answers: Record<string, () => Response> = {
    "page of a portal": () => new Response("<html>Log in</html>", { headers: { "Content-Type": "text/html" } }),
    "other JSON": () => Response.json({}),
    "other list": () => Response.json([]),
    nothing: () => new Response(null, { status: 204 }),
  };
  const requests: Record<string, (answer: () => Response) => Promise<unknown>> = {
    publish: (answer) => client(answer).publish("door", 1),
    publishAll: (answer) => client(answer).publishAll([{ topic: "door", data: 1 }]),
    history: (answer) => client(answer).history("door").next(),
    mintToken: (answer) => mintToken({ url: "http://fake.test", app: "a", key: "k", topics: ["door"], fetch: async () => answer() }),
  };
  for (const [what, answer] of Object.entries(answers))
    for (const [name, request] of Object.entries(requests))
      test(`${what}: ${name} is an error that says what to do`, async () => {
        await expect(request(answer)).rejects.toMatchObject({ name: "NetworkError", type: "no-node", fatal: false });
      });
});

describe("names that a URL takes for steps", () => {
  // `..` is the name of a topic, and part of a path it would be another path.
  for (const name of [".", ".."])
    test(`${name} is refused before anything is sent`, async () => {
      const asked = vi.fn(() => Response.json({}));
      const to = client(asked);
      await expect(to.publish(name, [{ topic: "door", data: 1 }])).rejects.toThrow(InvalidError);
      await expect(to.history(name).next()).rejects.toThrow(InvalidError);
      await expect(to.endpoint<{ a: string }>("GET", "/{a}/keys")({ a: name })).rejects.toThrow(InvalidError);
      expect(() => createClient({ app: name })).toThrow(InvalidError);
      expect(asked).not.toHaveBeenCalled();
    });
});

describe("a function for tokens", () => {
  test("that returns the page of an error is asked again, and its page is in no message", async () => {
    let page: string | undefined = "<html>\n<title>502</title>\n</html>";
    const { client, server } = fake({ token: () => page ?? "t" });
    const told = vi.fn();
    client.on("error", told);
    const topic = client.topic("door");
    await pass(0);
    expect(told).toHaveBeenCalledWith(expect.objectContaining({ type: "token", fatal: false }));
    expect(told.mock.calls[0]![0].detail).not.toContain("html");
    page = undefined;
    await pass(2000);
    expect(client.state.name).toBe("open");
    expect(server.streams).toHaveLength(1);
    topic.close();
  });
  test("that hangs holds up neither a timeout nor an abort", async () => {
    const to = client(() => Response.json({}), { token: () => new Promise(() => {}) });
    await expect(to.publish("door", 1, { timeout: 10 })).rejects.toThrow(TimeoutError);
    await expect(to.publish("door", 1, { signal: AbortSignal.abort("mine") })).rejects.toBe("mine");
  });
});

describe("a function for tokens that does not answer", () => {
  test.each([false, true])("is asked again, with share: %s", async (share) => {
    let asked = 0;
    const { client, log } = fake({ share, token: () => (asked++ ? "t" : new Promise<string>(() => {})) });
    const topic = client.topic("door");
    await pass(20_000);
    await pass(2000);
    await topic.ready;
    expect(client.state.name).toBe("open");
    expect(asked).toBe(2);
    expect(log).toEqual(share ? ["state:connecting", "state:open", "open"] : ["state:connecting", "state:waiting", "error:timeout", "state:connecting", "state:open", "open"]);
  });
});

test("a stream that breaks waits for the token that a request is renewing", async () => {
  let answer!: (token: string) => void;
  let asked = 0;
  const { client, server } = fake({ token: () => (asked++ ? new Promise<string>((resolve) => (answer = resolve)) : "old") });
  await client.topic("door").ready;
  server.refuse(401);
  const published = client.publish("door", 1);
  await turns();
  server.drop();
  await pass(1000);
  answer("new");
  await published;
  await pass(0);
  expect(asked).toBe(2);
  expect(server.streams[0]!.request.headers.get("Authorization")).toBe("Bearer new");
});

test("a stream that says no hello in 20 s is asked for again, whatever comes", async () => {
  const { server, client } = fake();
  server.hold();
  let trickle = true;
  const fetch = async (url: never, init: RequestInit): Promise<Response> => {
    if (!trickle) return server.fetch(url, init);
    const body = new ReadableStream({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, 1000));
        controller.enqueue(new TextEncoder().encode(" "));
      },
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  };
  const other = fake({ fetch: fetch as never });
  other.client.topic("door");
  for (let i = 0; i < 20; i++) await pass(1000);
  expect(other.client.state).toMatchObject({ name: "waiting", error: { type: "timeout", detail: "no stream has begun in 20000 ms" } });
  trickle = false;
  server.release();
  await pass(1000);
  expect(other.client.state.name).toBe("open");
  client.close();
});

describe("a validator", () => {
  test("whose onInvalid throws takes no event from others", async () => {
    const thrown = vi.fn();
    process.prependOnceListener("uncaughtException", thrown);
    const { client, server } = fake();
    client.topic("a", { validate: (n) => { if (n === 2) throw new Error("two"); return n; }, onInvalid: () => { throw new Error("mine"); } }).on("event", () => {}); // prettier-ignore
    const got: unknown[] = [];
    client.topic("a").on("event", ({ data }) => got.push(data));
    await pass(0);
    vi.stubGlobal("queueMicrotask", (f: () => void) => { try { f(); } catch (e) { thrown(e); } }); // prettier-ignore
    for (const n of [1, 2, 3]) server.publish("a", n);
    await pass(0);
    vi.unstubAllGlobals();
    expect(got).toEqual([1, 2, 3]);
    expect(thrown).toHaveBeenCalled();
  });
  test("that rejects later is told once, and is no unhandled rejection", async () => {
    const { client, server } = fake();
    const invalid = vi.fn();
    client.topic("a", { validate: (async () => { throw new Error("late"); }) as never, onInvalid: invalid }).on("event", () => {}); // prettier-ignore
    await pass(0);
    server.publish("a", 1);
    await pass(0);
    expect(invalid).toHaveBeenCalledOnce();
  });
});

test("closing a topic ends its request for history, which does not hang for ever", async () => {
  const signals: AbortSignal[] = [];
  const { client, server } = fake({
    fetch: ((url: string, init: RequestInit) => {
      if (!url.includes("since=")) return server.fetch(url, init);
      signals.push(init.signal!);
      return new Promise((_, reject) => init.signal!.addEventListener("abort", () => reject(init.signal!.reason)));
    }) as typeof fetch,
  });
  const topic = client.topic("a", { since: "all" });
  topic.on("event", () => {});
  await pass(0);
  expect(signals).toHaveLength(1);
  await pass(20_000);
  expect(signals[0]!.aborted).toBe(true);
  await pass(2000);
  expect(signals).toHaveLength(2);
  topic.close();
  await turns();
  expect(signals[1]!.aborted).toBe(true);
});

test("times that no timer can have are as long as one can be", async () => {
  const to = client(() => Response.json({ id: "1.1", topic: "a", published_at: "2026-01-01T00:00:00Z", durability: "local" }));
  await expect(to.publish("a", 1, { timeout: Infinity })).resolves.toMatchObject({ id: "1.1" });
  const { client: other, server } = fake();
  server.refuse(503, { retryAfter: 2_592_000 });
  other.topic("a");
  await pass(60_000);
  expect(server.requests).toHaveLength(1);
});
