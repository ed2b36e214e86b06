import { delay } from "./backoff.js";
import type { Core } from "./core.js";
import { asError } from "./errors.js";
import { history } from "./history.js";
import { isAfter } from "./position.js";
import type { Reader, Since, TopicEvent } from "./topic.js";

/** How long a page may take, in milliseconds. */
const timeout = 20_000;

/** How many events of the stream are kept meanwhile. */
const most = 1000;

/** backfill makes a reader take the events since a beginning up to the id `border`, and then those behind it that its stream has brought meanwhile. */
export async function backfill({ http, path, emit }: Core, reader: Reader, since: Since, border: string): Promise<void> {
  const { seen, signal } = reader;
  const later: TopicEvent<unknown>[] = [];
  reader.sink = (event) => {
    if (later.push(event) <= most) return;
    let missed = 0;
    for (const { id, node } of later.splice(0)) {
      if (id && !node) border = id; // the history has it
      else missed++;
    }
    if (missed) reader.emit("gap", { missed });
  };
  if (/^\w+\.\d+$/.test("" + since)) seen.set("", since as string);
  for (let attempt = 0; !reader.over; attempt++) {
    try {
      for await (const event of history<unknown>(http, path, reader.name, { since: seen.get("") ?? since, page: 1000, signal, timeout })) {
        if (reader.over || isAfter(event.id!, border)) break;
        reader.take(event);
      }
      break;
    } catch (thrown) {
      if (reader.over) return;
      const error = asError(thrown);
      const { status, type, fatal, retryAfter } = error;
      emit("error", error);
      if (status === 410) {
        seen.set("", border);
        reader.emit("reset", { reason: type.replace("position-", ""), position: border });
        break;
      }
      if (fatal) reader.end(error);
      else
        await new Promise((resolve) => {
          const timer = setTimeout(resolve, delay(attempt, undefined, retryAfter));
          signal.addEventListener("abort", () => resolve(clearTimeout(timer)));
        });
    }
  }
  if (isAfter(border, seen.get(""))) seen.set("", border);
  reader.sink = reader.take;
  later.forEach(reader.take);
}
