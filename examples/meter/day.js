// Daily totals from the counter of an input: the total at the beginning of the day is
// kept, so that an event that comes twice changes nothing, and one that is lost is in
// the next.
import { kv, pubsub } from "picloud";

const perKWh = 1000; // pulses, as it stands on the meter

export default async function (event, ctx) {
  const { total, count, rate, at } = event.data;
  const day = at.slice(0, 10); // of UTC
  const { before } = (await kv.get("day/" + day)) ?? { before: total - count };
  const kwh = (total - before) / perKWh;
  await kv.set("day/" + day, { before, kwh }, { ttl: 400 * 24 * 3600 });
  const watts = Math.round((rate * 3600 * 1000) / perKWh);
  await pubsub.publish("energy", { day, kwh, watts }, { idempotencyKey: ctx.delivery });
}
