// A button bounces: within three seconds only the first press rings.
import { kv, pubsub, PreconditionError } from "picloud";

export default async function (event) {
  if (!event.data.pressed) return;
  try {
    await kv.set("ringing", true, { create: true, ttl: 3 });
  } catch (e) {
    if (e instanceof PreconditionError) return; // it rings already
    throw e;
  }
  const visitors = await kv.increment("visitors");
  await pubsub.publish("chime", { visitors });
}
