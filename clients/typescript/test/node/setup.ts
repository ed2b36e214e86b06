import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** The picloud under test. */
    binary: string;
  }
}

/** Builds the daemon once for all tests; PICLOUD_BINARY names one that is built already. */
export default function setup(project: TestProject): () => void {
  const dir = mkdtempSync(join(tmpdir(), "picloud-client-"));
  let binary = process.env.PICLOUD_BINARY;
  if (!binary) {
    binary = join(dir, "picloud");
    execFileSync("go", ["build", "-o", binary, "./cmd/picloud"], {
      cwd: join(import.meta.dirname, "../../../.."),
      env: { ...process.env, CGO_ENABLED: "0" },
      stdio: "inherit",
    });
  }
  project.provide("binary", binary);
  return () => rmSync(dir, { recursive: true, force: true });
}
