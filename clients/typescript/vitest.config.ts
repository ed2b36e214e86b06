import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import * as compiler5 from "svelte/compiler";
import { defineConfig, type Plugin } from "vitest/config";
import { svelte } from "./test/svelte/plugin.js";

// The bindings are tested with the current versions of their frameworks, and with older ones that they support, which are those of test/older.
const olderPackage = fileURLToPath(new URL("test/older/package.json", import.meta.url));
const olderCompiler = createRequire(olderPackage)("svelte/compiler");
const older: Plugin = {
  name: "older",
  enforce: "pre",
  resolveId(source, importer) {
    const isFramework = /^(react|react-dom|svelte)(\/|$)/.test(source);
    return isFramework && !importer?.includes("/node_modules/") ? this.resolve(source, olderPackage, { skipSelf: true }) : null;
  },
};

const test = {
  testTimeout: 60_000,
  hookTimeout: 60_000,
  server: { deps: { inline: [/svelte/, /vue/, "solid-js"] } },
};
const browser = ["browser", "module", "import", "default"]; // the modules that a bundler gives to a page

export default defineConfig({
  test: {
    maxWorkers: 1, // two processors are the usual machine
    projects: [
      {
        plugins: [svelte(compiler5, { browser: "client", server: "server" })],
        // A node is built and started once for all files; a test that needs to kill one starts its own.
        test: { ...test, name: "node", include: ["test/**/*.test.ts"], exclude: ["test/{bindings,older,mutation,runtimes}/**"], globalSetup: "test/node/setup.ts" },
      },
      // What test/runtimes has installed, which scripts/client does when it is asked to.
      { test: { ...test, name: "runtimes", include: ["test/runtimes/*.test.ts"], globalSetup: "test/node/setup.ts" } },
      {
        plugins: [svelte(compiler5, { browser: "client", server: "server" })],
        resolve: { conditions: browser },
        test: { ...test, name: "current", env: { REACT: "19", SVELTE: "5" }, include: ["test/bindings/*.test.ts"] },
      },
      {
        plugins: [older, svelte(olderCompiler, { browser: "dom", server: "ssr" })],
        resolve: { conditions: browser },
        test: { ...test, name: "older", env: { REACT: "18", SVELTE: "4" }, include: ["test/bindings/{react,svelte}.test.ts"] },
      },
    ],
  },
});
