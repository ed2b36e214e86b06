/** What a client is doing. README.md has the table with the meaning of each. */
export type StateName = "idle" | "connecting" | "open" | "waiting" | "paused" | "stopped" | "closed";

/** What can happen to a client. */
export type Input = "subscribe" | "unsubscribe" | "hello" | "redial" | "lost" | "retry" | "fatal" | "pause" | "resume" | "close";

type Row = Partial<Record<Input, StateName>>;

const never: Row = { close: "closed" };

/** Where each input leads; what is not in the table changes nothing. */
const table: Record<StateName, Row> = {
  idle: { ...never, subscribe: "connecting" },
  connecting: { ...never, unsubscribe: "idle", hello: "open", lost: "waiting", fatal: "stopped", pause: "paused" },
  open: { ...never, unsubscribe: "idle", hello: "open", redial: "connecting", lost: "waiting", fatal: "stopped", pause: "paused" },
  waiting: { ...never, unsubscribe: "idle", retry: "connecting", pause: "paused" },
  paused: { ...never, unsubscribe: "idle", resume: "connecting" },
  stopped: { ...never, subscribe: "connecting" },
  closed: {},
};

/** next returns the state that an input leads to; undefined where it changes nothing. */
export function next(from: StateName, input: Input): StateName | undefined {
  return table[from][input];
}
