// Impatient fingers: within three seconds only the first press rings. The events come
// from a pin (../board.toml), or from whatever else publishes to the topic.
import { kv, pubsub, PreconditionError } from "picloud";

export default async function (event, ctx) {
  if (!event.data.pressed) return;
  try {
    await kv.set("ringing", ctx.delivery, { create: true, ttl: 3 });
  } catch (e) {
    if (!(e instanceof PreconditionError)) throw e;
    // It rings already, unless this is the press that rings, tried again because the
    // node lost its power in between. Then it may ring twice, which is better than not
    // at all.
    if ((await kv.get("ringing")) !== ctx.delivery) return;
  }
  const visitors = await kv.increment("visitors");
  await pubsub.publish("chime", { visitors });
}

// press is the button of a page.
export async function press() {
  await pubsub.publish("button", { pressed: true });
}
