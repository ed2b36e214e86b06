import { render } from "svelte/server";
import { expect, test } from "vitest";
import { fake, turns } from "../fake.js";
import Reactive from "./Reactive.svelte";
import Store from "./Store.svelte";

// CL-6
test.each([
  ["store", Store, "<p>7 stale"],
  ["ReactiveTopic", Reactive, "<p>7 14 stale"],
])("a server renders the first value of a %s, and asks nobody", async (_, component, html) => {
  const { server, client } = fake();
  expect(render(component, { props: { client, initial: 7 } }).body).toContain(html);
  await turns();
  expect(server.requests).toEqual([]);
});
