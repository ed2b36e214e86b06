import fc from "fast-check";
import * as v from "valibot";
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { claims, createAuth, renewIn } from "../src/auth.js";
import { delay } from "../src/backoff.js";
import { createEmitter } from "../src/emitter.js";
import { InvalidError } from "../src/errors.js";
import { isAfter } from "../src/position.js";
import { createQueue } from "../src/queue.js";
import { type Validator, validate } from "../src/validate.js";

describe("position", () => {
  // CL-4: sequences have 64 bits: more than a number holds.
  test("is ordered by its sequence within an epoch", () => {
    const seq = fc.bigInt(0n, 2n ** 64n - 1n);
    fc.assert(fc.property(seq, seq, (a, b) => void expect(isAfter("00c3a91e42." + a, "00c3a91e42." + b)).toBe(a > b)));
  });
  test("of another epoch, or after none, is new", () => {
    expect(isAfter("00c3a91e42.1", "00c3a91e43.2")).toBe(true);
    expect(isAfter("00c3a91e42.1", null)).toBe(true);
  });
});

describe("delay", () => {
  // CL-3: 1 s → 2 s → … → 30 s, full jitter.
  test("doubles up to 30 s", () => {
    const delays = [0, 1, 2, 3, 4, 5, 6, 50].map((attempt) => delay(attempt, undefined, undefined, () => 1));
    expect(delays).toEqual([1, 2, 4, 8, 16, 30, 30, 30].map((s) => s * 1000));
  });
  test("is spread over all that is below", () => {
    expect(delay(3, undefined, undefined, () => 0)).toBe(0);
    expect(delay(3, undefined, undefined, () => 0.5)).toBe(4000);
  });
  test("is what the stream asks for at first, and never less", () => {
    expect([1700, 200].map((retry) => delay(0, retry, undefined, () => 1))).toEqual([1700, 200]);
    expect(delay(1, 1700, undefined, () => 0)).toBe(1700);
    expect(delay(5, 1700, undefined, () => 1)).toBe(30_000);
    expect(delay(1, 90_000, undefined, () => 1)).toBe(90_000);
  });
  test("is at least Retry-After, spread over a second", () => {
    expect([0, 0.5].map((r) => delay(4, 1700, 7, () => r))).toEqual([7000, 7500]);
  });
});

/** jwt makes an unsigned token. */
const jwt = (payload: object): string => ["e30", Buffer.from(JSON.stringify(payload)).toString("base64url"), "x"].join(".");

describe("auth", () => {
  test("asks a function once, whoever needs the token", async () => {
    const token = vi.fn(async () => "t");
    const auth = createAuth({ token });
    expect(await Promise.all([auth.get(), auth.get()])).toEqual(["t", "t"]);
    expect(token).toHaveBeenCalledTimes(1);
  });
  // CL-3: single flight.
  test("renews once for all that hold the old token, and tells those who come late the new one", async () => {
    const onTokenExpired = vi.fn(async () => "new");
    const auth = createAuth({ token: "old", onTokenExpired });
    expect(await Promise.all([auth.renew("old", "refused"), auth.renew("old", "expired"), auth.get()])).toEqual(["new", "new", "new"]);
    expect(await auth.renew("old", "refused")).toBe("new");
    expect(onTokenExpired.mock.calls).toEqual([["refused"]]);
  });
  test("tries again after a failure", async () => {
    const onTokenExpired = vi.fn<() => Promise<string>>().mockRejectedValueOnce(new Error("away")).mockResolvedValue("new");
    const auth = createAuth({ token: "old", onTokenExpired });
    await expect(auth.renew("old", "refused")).rejects.toThrow("away");
    expect(await auth.renew("old", "refused")).toBe("new");
  });
  test("a function that throws at once is asked again, too", async () => {
    let calls = 0;
    const auth = createAuth({
      token() {
        if (!calls++) throw new Error("away");
        return "t";
      },
    });
    await expect(auth.get()).rejects.toThrow("away");
    expect(await auth.get()).toBe("t");
  });
  test("has no way to renew a text", () => {
    expect(createAuth({ token: "old" }).renew("old", "refused")).toBeUndefined();
  });
  test("reads the claims of tokens alone", () => {
    expect(claims(jwt({ sub: "ü?>" }))?.sub).toBeDefined();
    expect([claims(undefined), claims("pck_abc"), claims("a.!.c")]).toEqual([undefined, undefined, undefined]);
  });
  test("renews a tenth of the life ahead, by the sooner of the two clocks", () => {
    const now = 1_700_000_000;
    const token = jwt({ iat: now, exp: now + 1000 });
    expect(renewIn(token, now * 1000)).toBe(900_000);
    expect(renewIn(token, (now + 600) * 1000)).toBe(300_000); // it is old already
    expect(renewIn(token, (now - 9000) * 1000)).toBe(900_000); // the clock here is behind
    expect(renewIn(token, (now + 9000) * 1000)).toBe(0); // or far ahead: wait to be told
    expect(renewIn("pck_abc")).toBe(0);
  });
});

describe("emitter", () => {
  test("calls the others when a listener throws, and reports it", () => {
    const { on, emit } = createEmitter<{ a: number }>();
    const got: number[] = [];
    let report!: () => void;
    vi.stubGlobal("queueMicrotask", (f: () => void) => (report = f));
    on("a", () => {
      throw new Error("wrong");
    });
    on("a", (n) => got.push(n));
    emit("a", 1);
    vi.unstubAllGlobals();
    expect(got).toEqual([1]);
    expect(report).toThrow("wrong"); // where nothing catches it
  });
  test("a function that listens twice is called twice, and goes once at a time", () => {
    const { on, emit } = createEmitter<{ a: number }>();
    let n = 0;
    const f = (): void => void n++;
    const off = on("a", f);
    on("a", f);
    emit("a", 0);
    expect(off()).toBe(true);
    expect(off()).toBe(false);
    emit("a", 0);
    expect(n).toBe(3);
  });
});

describe("queue", () => {
  test("keeps order over any pushes and takes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(40), { maxLength: 200 }), async (bursts) => {
        const queue = createQueue<number>(Infinity, () => {});
        let pushed = 0;
        let taken = 0;
        for (const [i, burst] of bursts.entries()) {
          for (let j = 0; j < burst; j++) queue.push(pushed++);
          for (let j = 0; j < burst * (i % 3) && taken < pushed; j++) expect(await queue.next()).toEqual({ value: taken++, done: false });
        }
        queue.end();
        while (taken < pushed) expect(await queue.next()).toEqual({ value: taken++, done: false });
        expect((await queue.next()).done).toBe(true);
      }),
    );
  });
  test("drops the oldest when it is full", async () => {
    const queue = createQueue<number>(2, () => {});
    expect([1, 2, 3].map((n) => queue.push(n))).toEqual([true, true, false]);
    expect((await queue.next()).value).toBe(2);
  });
  test("wakes every taker", async () => {
    const queue = createQueue<number>(9, () => {});
    const both = [queue.next(), queue.next()];
    queue.push(1);
    queue.push(2);
    expect((await Promise.all(both)).map((r) => r.value)).toEqual([1, 2]);
  });
  test("throws its end once, after what was left", async () => {
    const queue = createQueue<number>(9, () => {});
    queue.push(1);
    queue.end(new Error("over"));
    expect((await queue.next()).value).toBe(1);
    await expect(queue.next()).rejects.toThrow("over");
    expect((await queue.next()).done).toBe(true);
  });
});

describe("validate", () => {
  interface Door {
    open: boolean;
  }
  // CL-5: zod and valibot satisfy the type as they are, and infer.
  const all: [string, Validator<Door>][] = [
    ["zod", z.object({ open: z.boolean() })],
    ["valibot", v.object({ open: v.boolean() })],
    ["an object with parse", { parse: (x) => (typeof (x as Door)?.open === "boolean" ? (x as Door) : raise()) }],
    ["a function", (x) => (typeof (x as Door)?.open === "boolean" ? (x as Door) : raise())],
  ];
  const raise = (): never => {
    throw new Error("no door");
  };
  test.each(all)("%s", (_, validator) => {
    expect(validate(validator, { open: true })).toEqual({ open: true });
    expect(() => validate(validator, { open: 1 })).toThrow(InvalidError);
    try {
      validate(validator, null);
    } catch (thrown) {
      expect(thrown).toMatchObject({ type: "invalid", fatal: true, value: null, issues: expect.anything() });
    }
  });
  test("a schema that transforms", () => {
    expect(validate(z.object({ at: z.string().transform((s) => new Date(s)) }), { at: "2026-01-01" })).toEqual({ at: new Date("2026-01-01") });
  });
  test("a schema that takes its time", async () => {
    const slow = z.string().refine(async (s) => s === "a", "not a");
    expect(await validate(slow, "a")).toBe("a");
    await expect(validate(slow, "b")).rejects.toThrow("not a");
  });
  test("validators that reject", async () => {
    const rejects = async (): Promise<never> => raise();
    for (const validator of [rejects, { parse: rejects }, { "~standard": { version: 1, vendor: "own", validate: rejects } } as const]) {
      const error = await Promise.resolve(validate<unknown>(validator, 1)).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(InvalidError);
      expect(error).toMatchObject({ message: "no door", value: 1 });
    }
  });
});
