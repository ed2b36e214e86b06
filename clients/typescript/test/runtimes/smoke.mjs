// What a server does with the client, in a runtime of JavaScript: smoke.mjs ENTRY URL KEY. It tells each step as a line, and its process ends
// by itself once the client is closed.
import { createRequire } from "node:module";
import process from "node:process";

const [entry, url, token] = process.argv.slice(2);
const { createClient, StatusError } = entry.endsWith(".cjs") ? createRequire(import.meta.url)(entry) : await import(entry);
const client = createClient({ url, app: "default", token });

/** once resolves when a client or topic tells something for which ok is true. */
const once = (source, kind, ok = () => true) => new Promise((resolve) => source.on(kind, (told) => ok(told) && resolve(told)));

const door = client.topic("door");
await door.ready;
const first = once(door, "event");
await client.publish("door", { n: 1 }, { idempotencyKey: "1" });
console.log("event", (await first).data.n);

const lost = once(client, "state", ({ name }) => name === "waiting");
const resumed = once(client, "resumed");
console.log("kill the node");
console.log("lost", (await lost).error.type);
await resumed;
const second = once(door, "event");
await client.publishAll([{ topic: "door", data: { n: 2 } }]);
console.log("event", (await second).data.n);

const kept = [];
for await (const { data } of client.history("door")) kept.push(data.n);
console.log("history", kept.join());
for await (const { data } of client.topic("door", { since: "all" })) {
  console.log("loop", data.n);
  if (data.n === 2) break;
}
const error = await client.publish("no topic", 1).catch((thrown) => thrown);
console.log("refused", error instanceof StatusError, error.status);
client.close();
console.log("closed");
