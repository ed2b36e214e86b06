// Hysteresis: the alarm begins above 30 degrees and ends below 27, so that a
// reading that wavers around a limit does not cry wolf.
import { kv, pubsub } from "picloud";

const begins = 30, ends = 27;

export default async function (event, ctx) {
  const sensor = event.topic.slice("temperature/".length);
  const degrees = event.data.degrees;
  const key = "alarm/" + sensor;
  const alarmed = (await kv.get(key)) === true;
  const now = alarmed ? degrees >= ends : degrees > begins;
  if (now === alarmed) return;
  // The delivery's id makes publishing safe to repeat: should the node lose its
  // power between the two lines, it is not said twice.
  await pubsub.publish("alarm", { sensor, degrees, alarm: now }, { idempotencyKey: ctx.delivery });
  await kv.set(key, now);
}
