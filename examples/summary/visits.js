import { kv, pubsub } from "picloud";

export async function count(event) {
  await kv.increment("visits/" + event.at.slice(0, 10), 1, { ttl: 40 * 24 * 3600 });
}

export async function summary(event, ctx) {
  const day = event.at.slice(0, 10);
  const visits = (await kv.get("visits/" + day)) ?? 0;
  const { entries } = await kv.list({ prefix: "visits/", limit: 31 });
  const before = entries.filter((e) => e.key < "visits/" + day).map((e) => e.value);
  const usual = before.length ? before.reduce((a, b) => a + b, 0) / before.length : visits;
  await pubsub.publish("summary", { day, visits, usual }, { idempotencyKey: ctx.delivery });
}
