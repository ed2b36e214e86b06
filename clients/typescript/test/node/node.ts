import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { inject, onTestFinished } from "vitest";

/** A real node in a process of its own, with a data directory that ends with the test. */
export class TestNode {
  private child: ChildProcess | undefined;
  private log = "";

  private constructor(
    readonly home: string,
    readonly port: number,
    private readonly env: Record<string, string>,
  ) {}

  /** start starts a new node and waits until it serves. */
  static async start(env: Record<string, string> = {}): Promise<TestNode> {
    const home = mkdtempSync(join(tmpdir(), "pc-")); // short: the path of a socket may have 107 bytes
    const node = new TestNode(home, await freePort(), env);
    onTestFinished(async () => {
      await node.kill();
      rmSync(home, { recursive: true, force: true });
    });
    await node.start();
    return node;
  }

  get url(): string {
    return "http://127.0.0.1:" + this.port;
  }

  private get environ(): Record<string, string> {
    return {
      PATH: process.env.PATH!,
      HOME: this.home,
      PICLOUD_DATA: join(this.home, "data"),
      PICLOUD_LISTEN: "127.0.0.1:" + this.port,
      PICLOUD_SOCKET: join(this.home, "s"),
      ...this.env,
    };
  }

  /** start starts the node on the data that it has. */
  async start(): Promise<void> {
    const child = (this.child = spawn(inject("binary"), ["serve"], { env: this.environ, stdio: ["ignore", "pipe", "pipe"] }));
    for (const out of [child.stdout, child.stderr]) out.on("data", (text) => (this.log += text));
    // A process has no signal for being ready that reaches its starter: ask until it says so.
    await until("the node to serve", async () => {
      if (child.exitCode !== null) throw new Error("the node has ended: " + this.log);
      return (await fetch(this.url + "/readyz").catch(() => undefined))?.ok ?? false;
    });
  }

  /** kill ends the node as a power cut would. */
  async kill(): Promise<void> {
    await this.end("SIGKILL");
  }

  /** stop asks the node to stop. */
  async stop(): Promise<void> {
    await this.end("SIGTERM");
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  /** run runs a command of the operator and returns what it prints. */
  async run(...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(inject("binary"), args, { env: this.environ });
    return stdout.trim();
  }

  /** key creates an API key for the app default. */
  async key(...scopes: string[]): Promise<string> {
    return this.run("keys", "create", ...scopes.flatMap((scope) => ["--scope", scope]));
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** until polls, for what tells nobody when it happens, and throws after half a minute. */
export async function until(what: string, ok: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await ok())) {
    if (Date.now() > deadline) throw new Error("waited in vain for " + what);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
