import { onTestFinished, vi } from "vitest";
import { type Client, type ClientOptions, createClient } from "../src/index.js";
import "../src/streaming.js"; // so that a client has it at once: clocks stand while it is loaded
import { type FakeServer, type FakeServerOptions, fakeServer } from "../src/testing.js";

/** What a client has told, in order: `state:open`, `error:network` … */
export interface Told {
  server: FakeServer;
  client: Client;
  log: string[];
}

/** fake starts a client of a fake server, with a clock that only the test moves. */
export function fake(options: Partial<ClientOptions> = {}, serverOptions: FakeServerOptions = {}): Told {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
  vi.spyOn(Math, "random").mockReturnValue(1); // the longest of all jitter
  const server = fakeServer(serverOptions);
  const client = createClient({ app: "a", url: "http://fake.test", fetch: server.fetch, share: false, ...options });
  const log: string[] = [];
  client.on("state", (state) => log.push("state:" + state.name));
  client.on("error", (error) => log.push("error:" + error.type + (error.fatal ? "!" : "")));
  for (const kind of ["open", "resumed", "reset", "gap", "expired", "bye"] as const) client.on(kind, () => log.push(kind));
  onTestFinished(() => {
    client.close();
    vi.useRealTimers();
    vi.restoreAllMocks();
  });
  return { server, client, log };
}

/** turns lets everything run that waits for no timer: promises and streams take some turns of the loop. */
export async function turns(ok: () => boolean = () => false): Promise<void> {
  for (let i = 0; i < 50 && !ok(); i++) await new Promise((resolve) => setImmediate(resolve));
}

/** pass lets time pass, and all that it brings happen. */
export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
  await turns();
}

/** page gives the process a document and a window for the time of a test. */
export function page(): { document: EventTarget & { visibilityState: string }; fire(target: "document" | "window", kind: string): void } {
  onTestFinished(() => void vi.unstubAllGlobals());
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  const window = new EventTarget();
  vi.stubGlobal("document", document);
  vi.stubGlobal("addEventListener", window.addEventListener.bind(window));
  vi.stubGlobal("removeEventListener", window.removeEventListener.bind(window));
  return { document, fire: (target, kind) => (target === "document" ? document : window).dispatchEvent(new Event(kind)) };
}
