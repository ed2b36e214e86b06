import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Topic } from "../src/index.js";
import { type Input, next, type StateName } from "../src/machine.js";
import { fake, page, pass, type Told, turns } from "./fake.js";

/** The table of README.md: rows are states, columns are inputs, an empty cell changes nothing. */
function documented(): Map<string, string> {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const rows = readme
    .slice(readme.indexOf("<!-- states -->"), readme.indexOf("<!-- end of states -->"))
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim().replace(/`/g, "")));
  const [head, , ...body] = rows;
  const cells = new Map<string, string>();
  for (const [state, ...to] of body) to.forEach((name, i) => cells.set(state + " " + head![i + 1], name));
  return cells;
}

// CL-3: the state machine is the documented one, each transition and each that there is not.
test("every state and input leads where README.md says", () => {
  const cells = documented();
  expect(cells.size).toBe(7 * 10);
  for (const [cell, to] of cells) {
    const [state, input] = cell.split(" ");
    expect([cell, next(state as StateName, input as Input) ?? ""]).toEqual([cell, to]);
  }
});

/** A client in a page, and the topics that it reads. */
interface Bench extends Told, ReturnType<typeof page> {
  topics: Topic<unknown>[];
  read(name: string): void;
}

function bench(): Bench {
  const told = { ...page(), ...fake() };
  const topics: Topic<unknown>[] = [];
  return { ...told, topics, read: (name) => void topics.push(told.client.topic(name)) };
}

/** How a client gets into each state. */
const states: Record<StateName, (bench: Bench) => void | Promise<void>> = {
  idle() {},
  connecting({ server, read }) {
    server.hold();
    read("a");
  },
  open: ({ read }) => read("a"),
  waiting({ server, read }) {
    server.away();
    read("a");
  },
  async paused({ read, fire }) {
    read("a");
    await turns();
    fire("window", "pagehide");
  },
  stopped({ server, read }) {
    server.refuse(404);
    read("a");
  },
  closed: ({ client }) => client.close(),
};

/** How each input comes about, in the states in which it can. */
const inputs: Record<Input, Partial<Record<StateName | "any", (bench: Bench) => void | Promise<void>>>> = {
  subscribe: { any: ({ read }) => read("a") },
  unsubscribe: { any: ({ topics }) => topics.forEach((topic) => topic.close()) },
  hello: { connecting: ({ server }) => server.release(), open: ({ read }) => read("b") },
  redial: {
    async open({ server, read }) {
      server.hold();
      read("b"); // the next stream is on its way …
      await turns();
      server.drop(); // … when this one breaks
    },
  },
  lost: { connecting: () => pass(20_000), open: ({ server }) => server.drop() },
  retry: { waiting: () => pass(1000) },
  fatal: {
    connecting({ server }) {
      server.refuse(404);
      server.release();
    },
    open: ({ server }) => server.streams[0]!.frame("expired", { reason: "token" }), // and there is no other one
  },
  pause: { any: ({ fire }) => fire("window", "pagehide") },
  resume: { any: ({ fire }) => fire("document", "resume") },
  close: { any: ({ client }) => client.close() },
};

const cells = [...documented()].map(([cell, to]) => {
  const [state, input] = cell.split(" ") as [StateName, Input];
  return { state, input, to: to as StateName | "", how: inputs[input][state] ?? inputs[input].any };
});

// CL-3: a client makes each transition of the table, and with an input that its state does not have, none.
test.each(cells.filter(({ how }) => how))("a client: $state, $input → $to", async ({ state, input, to, how }) => {
  const it = bench();
  await states[state](it);
  await turns();
  expect(it.client.state.name).toBe(state);
  it.log.length = 0;
  await how!(it);
  await turns();
  const [first] = it.log.filter((entry) => entry.startsWith("state:"));
  // A page that is back ends a wait, too: the input retry.
  const expected = state === "waiting" && input === "resume" ? "connecting" : to;
  expect(first).toBe(expected ? "state:" + expected : undefined);
});

test("no transition is without a test", () => {
  expect(cells.filter(({ to, how }) => to && !how)).toEqual([]);
});
