// A file of lines such as "attic,2026-11-24T08:00:00Z,21.5" becomes one document for each line. Running again after a
// failure writes the same documents again, and the file goes only when all of them are there.
import { docs, files, pubsub } from "picloud";

export default async function (event, ctx) {
  if (event.deleted) return;
  const text = await files.text(event.path);
  if (text === undefined) return; // gone since
  const bad = [];
  let n = 0;
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const [sensor, at, value] = line.split(",").map((s) => s.trim());
    if (!sensor || Number.isNaN(Date.parse(at)) || Number.isNaN(parseFloat(value))) {
      bad.push(line);
      continue;
    }
    await docs.put("readings", `${sensor} ${at}`, { sensor, at, value: parseFloat(value) });
    n++;
  }
  if (bad.length > 0) await files.write(event.path.replace(/^in\//, "rejected/"), bad.join("\n") + "\n");
  await files.delete(event.path, { version: event.version }).catch(() => {}); // replaced since: that is another delivery
  await pubsub.publish("imported", { path: event.path, readings: n, rejected: bad.length }, { idempotencyKey: ctx.delivery });
}
