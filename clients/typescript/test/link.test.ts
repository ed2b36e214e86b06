import { expect, test, vi } from "vitest";
import { StreamError } from "../src/index.js";
import { createParser, maxBlock } from "../src/parser.js";
import { openStream } from "../src/stream.js";
import { fake, page, pass, turns } from "./fake.js";

const jwt = (iat: number, exp: number): string => ["e30", Buffer.from(JSON.stringify({ iat, exp })).toString("base64url"), "x"].join(".");

/** seconds returns the time of the test in seconds. */
const seconds = (): number => Math.floor(Date.now() / 1000);

/** frames returns an answer that begins with text and stays open, which no signal ends. */
function frames(text: string): { response: Response; send(more: string): void } {
  let out!: ReadableStreamDefaultController<Uint8Array>;
  const send = (more: string): void => out.enqueue(new TextEncoder().encode(more));
  const body = new ReadableStream<Uint8Array>({ start: (controller) => void (out = controller) });
  send(text);
  return { response: new Response(body, { headers: { "Content-Type": "text/event-stream" } }), send };
}

const hello = (resume: string | null): string =>
  `retry: 1000\nevent: hello\ndata: ${JSON.stringify({ node: "n", app: "a", topics: ["t"], heartbeat_sec: 30, resume, resumed: false, lossless: false })}\n\n`;
const event = (n: number): string => `id: 0000000001.${n}\ndata: {"topic":"t","data":${n},"published_at":null,"source":"s"}\n\n`;

test("lossless is asked for where it is wanted", async () => {
  for (const lossless of [true, undefined]) {
    const { server, client } = fake({ lossless });
    await client.topic("t").ready;
    expect(server.requests[0]!.url.searchParams.getAll("lossless")).toEqual(lossless ? ["1"] : []);
  }
});

test("a client without other tabs leads", async () => {
  const { client } = fake();
  await client.topic("t").ready;
  expect(client.state).toMatchObject({ name: "open", leader: true });
});

// What people read is said.
test("an error says why the stream has ended", async () => {
  const { server, client } = fake({}, { heartbeat: 10 });
  const said: string[] = [];
  client.on("error", (error) => said.push(error.type + ": " + error.detail));
  await client.topic("t").ready;
  server.streams[0]!.end();
  await pass(1000);
  server.streams[0]!.frame("expired", { reason: "topic" });
  await pass(2000);
  await pass(25_000);
  expect(said).toEqual(["network: the stream has ended", "stream: the right to read has ended: topic", "timeout: the node has been silent for 25000 ms"]);
});

test("a stream tells nothing after close", async () => {
  const { response, send } = frames("");
  const told = vi.fn();
  const stream = openStream(async () => response, told, told);
  await turns();
  stream.close();
  send(event(1));
  await turns();
  expect(told).not.toHaveBeenCalled();
});

test("a stream that does not begin as one of a node says so", async () => {
  const { client } = fake({ fetch: async () => new Response("data: x\n\n", { headers: { "Content-Type": "text/event-stream" } }) });
  client.topic("t");
  await turns();
  expect(client.state.error).toMatchObject({ type: "no-node", detail: "this is no stream of a node: check the url" });
});

test("a block that is too large is a StreamError that says so", () => {
  const feed = createParser(() => {});
  expect(() => feed(new TextEncoder().encode("data: " + "x".repeat(maxBlock)))).toThrow(
    expect.objectContaining({ type: "stream", detail: "a block of the stream is larger than 4 MiB" }),
  );
});

test("a body that cannot be read in parts is a clear error", async () => {
  const { client } = fake({ fetch: async () => ({ ok: true, status: 200, body: {} }) as Response }); // as of node-fetch
  await expect(client.topic("t").ready).rejects.toThrow(StreamError);
  expect(client.state).toMatchObject({ name: "stopped", error: { fatal: true, detail: expect.stringContaining("does not stream") } });
});

// What a listener does counts at once, also in the middle of a chunk.
test("a client that a listener closes as it opens hears no more", async () => {
  const { response } = frames(hello("0000000001.0") + event(1));
  const { client, log } = fake({ fetch: async () => response });
  const got: unknown[] = [];
  client.topic("t").on("event", ({ data }) => got.push(data));
  client.on("state", ({ name }) => name === "open" && client.close());
  await turns();
  expect([log, got]).toEqual([["state:connecting", "state:open", "state:closed"], []]);
});

test("a client that is closed hears no more of a fetch that does not heed signals", async () => {
  const { response, send } = frames(hello("0000000001.0"));
  const { client, log } = fake({ fetch: async () => response });
  await client.topic("t").ready;
  client.close();
  send("event: gap\ndata: {}\n\n");
  await turns();
  expect(log).toEqual(["state:connecting", "state:open", "open", "state:closed"]);
});

// docs/protocol.md: `resume` is null when a stream ends before it has begun.
test("a stream that ends before it has begun is not open, and tells why", async () => {
  const { response } = frames(hello(null) + 'event: expired\ndata: {"reason":"topic"}\n\n');
  const { client, log } = fake({ fetch: async () => response });
  client.topic("t");
  await turns();
  expect(log).toEqual(["state:connecting", "expired", "state:waiting", "error:stream"]);
});

test("a topic that is refused by its name ends the client that reads nothing else", async () => {
  const { server, client } = fake();
  server.refuse(404, { type: "topic-not-found", topic: "t" });
  await expect(client.topic("t").ready).rejects.toMatchObject({ status: 404, topic: "t" });
  await turns();
  expect([client.state.name, server.requests.length]).toEqual(["stopped", 1]);
});

test("a stream that breaks while the next one is on its way is not asked for once more", async () => {
  const { server, client } = fake();
  await client.topic("a").ready;
  server.hold();
  client.topic("b");
  await turns();
  server.drop();
  await turns();
  server.release();
  await turns();
  expect([client.state.name, server.requests.length]).toEqual(["open", 2]);
});

// Tokens.

test("a right that is revoked asks for another token as refused", async () => {
  const onTokenExpired = vi.fn(async () => "new");
  const { server, client } = fake({ token: "old", onTokenExpired });
  await client.topic("t").ready;
  server.streams[0]!.frame("expired", { reason: "revoked" });
  server.streams[0]!.end();
  await turns();
  expect([onTokenExpired.mock.calls, client.state.name]).toEqual([[["refused"]], "open"]);
});

test("a token that does not tell its end is not renewed ahead", async () => {
  const onTokenExpired = vi.fn(async () => "new");
  const { client } = fake({ token: "opaque", onTokenExpired }, { heartbeat: 1e6 });
  await client.topic("t").ready;
  await pass(1_000_000);
  expect(onTokenExpired).not.toHaveBeenCalled();
});

test("a token that cannot be renewed is used to its end", async () => {
  const { server, client, log } = fake({ token: jwt(seconds(), seconds() + 100) }, { heartbeat: 100 });
  await client.topic("t").ready;
  await pass(95_000);
  expect([client.state.name, server.requests.length, log]).toEqual(["open", 1, ["state:connecting", "state:open", "open"]]);
});

test("a token that comes after the client is closed opens nothing", async () => {
  let give!: (token: string) => void;
  const onTokenExpired = vi.fn(() => new Promise<string>((resolve) => (give = resolve)));
  const { server, client } = fake({ token: jwt(seconds(), seconds() + 100), onTokenExpired }, { heartbeat: 100 });
  await client.topic("t").ready;
  await pass(95_000);
  expect(onTokenExpired).toHaveBeenCalledTimes(1);
  client.close();
  give("new");
  await turns();
  expect([client.state.name, server.requests.length, server.streams.length]).toEqual(["closed", 1, 0]);
});

// Pauses.

test("a topic that has gone before its stream is due is not asked for", async () => {
  const { server, client } = fake({}, { heartbeat: 1000 });
  await client.topic("a").ready;
  await client.topic("b").ready;
  const requests = server.requests.length;
  const c = client.topic("c");
  await turns();
  c.close();
  await pass(60_000);
  expect([client.state.name, server.requests.length]).toEqual(["open", requests]);
});

test("a page that is left asks for nothing, though it was about to, and though the network is back", async () => {
  const { fire } = page();
  const { server, client } = fake();
  server.away();
  client.topic("t");
  await turns();
  expect(client.state.name).toBe("waiting");
  fire("window", "pagehide");
  fire("window", "online");
  await pass(60_000);
  expect([client.state.name, server.requests.length]).toEqual(["paused", 1]);
});
