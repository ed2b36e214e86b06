import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { TestNode } from "../node/node.js";

const here = import.meta.dirname;
const dist = join(here, "../../dist");
const installed = (path: string): string => join(here, "node_modules", path);
const bun = process.arch === "arm64" ? "aarch64" : "x64";

/** How each runtime runs a program. */
const runtimes: [string, string[], string][] = [
  ["Node.js 18.0", [installed(`node18-${process.arch}/bin/node`)], "index.js"],
  ["Node.js 18.0 with CommonJS", [installed(`node18-${process.arch}/bin/node`)], "index.cjs"],
  ["Node.js 26", [installed(`node26-${process.arch}/bin/node`)], "index.js"],
  ["Deno", [installed(`@deno/linux-${process.arch}-glibc/deno`), "run", "--no-config", "--allow-net", "--allow-read"], "index.js"],
  ["Bun", [installed(`@oven/bun-linux-${bun}/bin/bun`), "run"], "index.js"],
];

// CL-7: the client subscribes, publishes, comes back after kill -9 of the node, reads the history, and lets the process end.
test.each(runtimes)("%s", async (_, [command, ...args], entry) => {
  const node = await TestNode.start();
  const key = await node.key("app:publish", "app:read");
  const child = spawn(command!, [...args, join(here, "smoke.mjs"), join(dist, entry), node.url, key], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exited = once(child, "exit");
  const told: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    told.push(line);
    if (line !== "kill the node") continue;
    await node.kill();
    await node.start();
  }
  expect(told).toEqual([
    "event 1",
    "kill the node",
    "lost network",
    "event 2",
    "history 1,2",
    "loop 1",
    "loop 2",
    "refused true 422",
    "closed",
  ]);
  expect(await exited).toEqual([0, null]);
});
