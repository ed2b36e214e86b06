import { afterAll, beforeAll, describe, vi } from "vitest";
import { eventsource, fetchSource } from "./others.js";
import { play } from "./play.js";

// Two other clients of the npm registry show that the scenarios tell right from wrong.
describe(eventsource.name, () => play(eventsource));

describe(fetchSource.name, () => {
  beforeAll(() => {
    vi.stubGlobal("window", globalThis);
    vi.stubGlobal("document", new EventTarget());
  });
  afterAll(() => void vi.unstubAllGlobals());
  play(fetchSource);
});
