import { docs, pubsub } from "picloud";

export default async function (event) {
  const { id, trigger, reason, what, attempts } = event.letter;
  await docs.put("failures", id, { trigger, reason, attempts, topic: what.name, data: what.data });
  await pubsub.publish("failures", { trigger, reason });
}
