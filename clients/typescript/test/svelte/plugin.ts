import type { Plugin } from "vitest/config";

/** What a compiler of Svelte 4 or 5 offers. */
export interface SvelteCompiler {
  compile(source: string, options: object): { js: { code: string } };
}

/** svelte compiles components: for a browser, or for a server where a test runs without one. */
export function svelte({ compile }: SvelteCompiler, targets: { browser: string; server: string }): Plugin {
  return {
    name: "svelte",
    transform(source, id, options) {
      if (!id.endsWith(".svelte")) return undefined;
      return { code: compile(source, { filename: id, generate: options?.ssr ? targets.server : targets.browser }).js.code, map: null };
    },
  };
}
