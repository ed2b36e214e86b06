import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { eventsource, fetchSource, picloud } from "./adapters.js";
import { known } from "./known.js";
import { run } from "./run.js";
import { scenarios } from "./scenarios.js";

beforeEach(() => {
  vi.spyOn(Math, "random").mockReturnValue(0); // no jitter: pauses between attempts are the shortest
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

// CL-2, CL-3: a client of a node against a server that does all that servers, proxies and networks do to a stream. Two other clients show that the
// scenarios tell right from wrong.
describe.each([picloud, eventsource, fetchSource])("$name", (adapter) => {
  const others = known[adapter.name]!;

  test.each(scenarios)("$name", async (scenario) => {
    if (adapter === fetchSource) {
      vi.stubGlobal("window", globalThis);
      vi.stubGlobal("document", new EventTarget());
    }
    const isKnown = scenario.name in others;
    const faults = await run(adapter, isKnown ? 2000 : 30_000, scenario);
    if (isKnown) expect(faults, "it is as the scenario wants it: remove it from known.ts").not.toEqual([]);
    else expect(faults).toEqual([]);
  });

  test("all that is known is of a scenario", () => {
    const names = scenarios.map(({ name }) => name);
    expect(Object.keys(others).filter((name) => !names.includes(name))).toEqual([]);
    expect(new Set(names).size).toBe(names.length);
  });
});
