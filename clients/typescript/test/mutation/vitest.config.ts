import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/{answers,parser,machine,link,reconnect,since,small,topics}.test.ts", "test/contract/contract.test.ts"],
    testTimeout: 10_000,
    env: { CONTRACT_LIMIT: "3000" },
    maxWorkers: 1,
  },
});
