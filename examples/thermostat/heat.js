// Hysteresis: it heats below 20 degrees and stops at 21, so that a reading that wavers
// around a limit does not wear out the relay.
import { hw, kv, pubsub } from "picloud";

const begins = 20, ends = 21, patience = 300; // degrees, and seconds without a reading

export default async function (event, ctx) {
  const { celsius, error } = event.data;
  if (typeof celsius !== "number") return heat(false, { why: error ?? "a reading without a temperature" }, ctx);
  await kv.set("alive", true, { ttl: patience });
  const heats = await hw.read("heater"); // after a restart it is as the board begins, not as it was
  await heat(heats ? celsius < ends : celsius < begins, { celsius }, ctx);
}

// silence is asked each minute. A sensor that is gone says so once, but what should read
// it may be gone itself: without a reading nothing is heated.
export async function silence(event, ctx) {
  if ((await kv.get("alive")) === undefined) await heat(false, { why: "no reading for five minutes" }, ctx);
  else await tell(await hw.read("heater"), { why: "not switched here" }, ctx); // but by a restart, or by hand
}

async function heat(on, more, ctx) {
  if ((await hw.read("heater")) !== on) await hw.set("heater", on);
  await tell(on, more, ctx);
}

// tell publishes what the relay does when it is not what was published last. That is kept, as the relay may
// change without this script, or this script may end between the two.
async function tell(on, more, ctx) {
  if ((await kv.get("told")) === on) return;
  await pubsub.publish("heating", { on, ...more }, { idempotencyKey: ctx.delivery });
  await kv.set("told", on);
}
