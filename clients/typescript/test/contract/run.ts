import { done, type Scenario } from "./scenarios.js";
import { serve } from "./server.js";

/** What a client tells in a scenario. */
export interface Listener {
  /** An event without a name, by its data; "unreadable" for a block that is no event of a node. */
  event(data: unknown): void;
  /** The client has ended for good. */
  end(): void;
}

/** A client of Server-Sent Events under test. */
export interface Adapter {
  readonly name: string;
  /** open reads the topic t of the app a of a node until the function that it returns is called. */
  open(url: string, listener: Listener): () => void;
}

/** dataOf returns the data of an event of a node. */
export function dataOf(text: string): unknown {
  try {
    return JSON.parse(text).data;
  } catch {
    return "unreadable";
  }
}

const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > 80 ? text.slice(0, 80) + "…" : text;
};

/** run plays a scenario to a client and returns what it has done wrong; a client that does nothing more is waited for so many milliseconds. */
export async function run(adapter: Adapter, limit: number, { parts, events, resumes = [], pause = 0, ends = false }: Scenario): Promise<string[]> {
  const server = await serve(parts);
  const told: unknown[] = [];
  let close = (): void => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  let outcome: "done" | "ended" | "nothing more" | undefined;
  const faults: string[] = [];
  await new Promise<void>((resolve) => {
    const settle = (how: typeof outcome): void => {
      outcome ??= how;
      resolve();
    };
    timer = setTimeout(settle, limit, "nothing more");
    close = adapter.open(server.url, {
      event: (data) => void (data === done ? settle("done") : outcome ?? told.push(data)),
      end: () => settle("ended"),
    });
  });
  clearTimeout(timer);
  close();
  await server.idle();
  const { asked } = server;
  server.close();

  if (show(told) !== show(events) || told.length !== events.length || told.some((data, i) => data !== events[i])) faults.push(`told ${show(told)}`);
  const wanted = { true: ["ended"], false: ["done"], either: ["done", "ended"] }[`${ends}`];
  if (!wanted.includes(outcome!)) faults.push(outcome!);
  if (asked.some(({ accept }) => !accept?.includes("text/event-stream"))) faults.push("did not accept text/event-stream");
  resumes.forEach((id, i) => {
    if (asked[i + 1] && asked[i + 1]!.lastEventId !== id) faults.push(`resumed after ${asked[i + 1]!.lastEventId}`);
  });
  if (asked[1] && asked[1].after < pause - 2) faults.push(`came back after ${Math.round(asked[1].after)} ms`); // timers count in whole milliseconds
  return faults;
}
