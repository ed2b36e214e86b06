import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { known } from "./known.js";
import { type Adapter, run } from "./run.js";
import { scenarios } from "./scenarios.js";

/** How long a client that does nothing more is waited for, in milliseconds: a mutation check, where many do, has less time. */
const limit = Number(process.env.CONTRACT_LIMIT ?? 30_000);

/** play makes a test of each scenario for a client: it does what the scenario wants, but where known.ts says otherwise. */
export function play(adapter: Adapter): void {
  const others = known[adapter.name]!;

  beforeEach(() => {
    vi.spyOn(Math, "random").mockReturnValue(0); // no jitter: pauses between attempts are the shortest
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test.each(scenarios)("$name", async (scenario) => {
    const isKnown = scenario.name in others;
    const faults = await run(adapter, isKnown ? 2000 : limit, scenario);
    if (isKnown) expect(faults, "it is as the scenario wants it: remove it from known.ts").not.toEqual([]);
    else expect(faults).toEqual([]);
  });

  test("all that is known is of a scenario", () => {
    const names = scenarios.map(({ name }) => name);
    expect(Object.keys(others).filter((name) => !names.includes(name))).toEqual([]);
    expect(new Set(names).size).toBe(names.length);
  });
}
