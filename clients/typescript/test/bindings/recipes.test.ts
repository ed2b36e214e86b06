// @vitest-environment happy-dom
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createEffect, createRoot } from "solid-js";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createApp, h } from "vue";
import { type Client, createClient } from "../../src/index.js";
import { type FakeServer, fakeServer } from "../../src/testing.js";
import { turns } from "../fake.js";
import { createTopic } from "../recipes/solid.js";
import { useTopic } from "../recipes/vue.js";

let server: FakeServer;
let client: Client;

beforeEach(() => {
  server = fakeServer();
  client = createClient({ app: "a", url: "http://fake.test", fetch: server.fetch, share: false });
});

afterEach(() => client.close());

/** mount shows "DATA STATE" of the topic door by a recipe, and returns what reads it and what takes it away. */
const recipes: Record<string, () => { text(): string; unmount(): void }> = {
  vue() {
    const element = document.createElement("div");
    const app = createApp({
      setup() {
        const { last, state } = useTopic<number>(client, "door");
        return () => h("p", `${last.value?.data} ${state.value.name}`);
      },
    });
    app.mount(element);
    return { text: () => element.textContent!, unmount: () => app.unmount() };
  },
  solid() {
    let text = "";
    const unmount = createRoot((dispose) => {
      const { last, state } = createTopic<number>(client, "door");
      createEffect(() => (text = `${last()?.data} ${state().name}`));
      return dispose;
    });
    return { text: () => text, unmount };
  },
};

// CL-6
test.each(Object.keys(recipes))("the recipe for %s shows a topic with one stream, and leaves none; README.md has it", async (name) => {
  const shown = recipes[name]!();
  const other = recipes[name]!();
  await turns();
  expect(shown.text()).toBe("undefined open");
  server.publish("door", 1);
  await turns();
  expect([shown.text(), other.text(), server.streams.length]).toEqual(["1 open", "1 open", 1]);
  server.drop();
  await turns();
  expect(shown.text()).toBe("1 waiting");
  shown.unmount();
  other.unmount();
  await turns();
  expect([server.streams.length, client.state.name]).toEqual([0, "idle"]);
  const [source, readme] = [`../recipes/${name}.ts`, "../../README.md"].map((file) => readFileSync(join(import.meta.dirname, file), "utf8"));
  expect(readme).toContain("```ts\n" + source + "```");
});
