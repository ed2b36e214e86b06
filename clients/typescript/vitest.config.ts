import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A node is built and started once for all files; a test that needs to kill one starts its own.
    globalSetup: "test/node/setup.ts",
    fileParallelism: false, // two processors are the usual machine
  },
});
