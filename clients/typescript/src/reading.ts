import { delay } from "./backoff.js";
import { asError, type PicloudError } from "./errors.js";
import { eventOf, history } from "./history.js";
import type { Http } from "./http.js";
import type { Wants } from "./link.js";
import type { Frame } from "./parser.js";
import { isAfter } from "./position.js";
import type { Gap, Reader, Reset, Since } from "./topic.js";

/** What a reading tells beyond the topics. */
export interface ReadingOwner {
  hello(hello: { node: string; resumed: boolean; resume: string }): void;
  reset(reset: Reset): void;
  gap(gap: Gap): void;
  /** ending gets the frames `expired` and `bye`. */
  ending(kind: "expired" | "bye", ending: { reason: string }): void;
  /** error gets what has gone wrong with one topic. */
  error(error: PicloudError): void;
}

/** The topics that are read, and how far. */
export interface Reading {
  /** The id after which the stream has to go on. */
  cursor: string | null;
  wants(): Wants;
  add(reader: Reader): void;
  remove(reader: Reader): void;
  /** take handles a frame of a stream with these topics. It throws when the frame cannot be read. */
  take(frame: Frame, topics: readonly string[]): void;
  /** lost is called when no stream is open. */
  lost(): void;
  /** end ends the topics, or those that are named. */
  end(error: PicloudError | undefined, topics?: readonly string[]): void;
}

/**
 * createReading hands what comes on streams to topics. Each topic cuts what it has by ids, within an epoch, so that streams may overlap;
 * the cursor moves with the frames alone, and never back within a stream, since events in front are older.
 */
export function createReading(http: Http, path: string, cursor: string | null, owner: ReadingOwner): Reading {
  const readers = new Map<string, Set<Reader>>();
  let carried: readonly string[] = []; // by the stream that is open
  const each = (f: (reader: Reader, name: string) => void): void => readers.forEach((all, name) => all.forEach((reader) => f(reader, name)));

  /** backfill delivers what is older than the stream: events up to `border`, after which the stream begins. */
  const backfill = async (reader: Reader, since: Since, border: string): Promise<void> => {
    const { name } = reader.topic;
    reader.hold();
    const wanted = (): boolean | undefined => readers.get(name)?.has(reader);
    for (let attempt = 0; wanted(); attempt++) {
      try {
        for await (const event of history<unknown>(http, path, name, { since: reader.seen ?? since, page: 1000 })) {
          if (!wanted() || isAfter(event.id!, border)) break;
          reader.take(event, true);
        }
        break;
      } catch (thrown) {
        const error = asError(thrown);
        owner.error(error);
        if (error.status === 410) reader.reset({ reason: error.type.replace("position-", ""), position: border });
        else if (error.fatal) reader.end(error);
        if (error.fatal) break;
        await new Promise((resolve) => setTimeout(resolve, delay(attempt, undefined, error.retryAfter)));
      }
    }
    reader.release();
  };

  /** start: the topic of a reader is on the stream, from `border` on. */
  const start = (reader: Reader, border: string): void => {
    const { since } = reader;
    reader.started = true;
    if (since && since !== "latest") void backfill(reader, since, border);
    else if (!reader.latest) reader.seen = border;
    reader.ready();
  };

  const reading: Reading = {
    cursor,
    wants: () => ({
      topics: [...readers.keys()].sort(),
      latest: [...readers].filter(([, all]) => [...all].some((reader) => reader.latest)).map(([name]) => name),
      cursor: reading.cursor,
    }),
    add(reader) {
      const { name } = reader.topic;
      if (!readers.has(name)) readers.set(name, new Set());
      readers.get(name)!.add(reader);
      if (carried.includes(name)) start(reader, reading.cursor!);
    },
    remove(reader) {
      const { name } = reader.topic;
      const all = readers.get(name);
      all?.delete(reader);
      if (!all?.size) readers.delete(name);
    },
    take({ event, data, id }, topics) {
      if (id && isAfter(id, reading.cursor)) reading.cursor = id;
      if (data === undefined) return;
      const body = JSON.parse(data);
      switch (event) {
        case undefined: {
          const told = eventOf(body, body.id ?? id);
          readers.get(told.topic)?.forEach((reader) => reader.started && reader.take(told));
          break;
        }
        case "hello": {
          const { resume } = body;
          if (!resume) break; // the stream ends before it has begun
          carried = topics;
          reading.cursor = resume;
          each((reader, name) => !reader.started && topics.includes(name) && start(reader, resume));
          owner.hello(body);
          break;
        }
        case "reset":
          reading.cursor = body.position;
          each((reader) => reader.reset(body));
          owner.reset(body);
          break;
        case "gap":
          each((reader, name) => {
            const missed = body.topics?.[name];
            if (missed) reader.gap({ ...body, missed });
          });
          owner.gap(body);
          break;
        case "expired":
        case "bye":
          owner.ending(event, body);
      }
    },
    lost() {
      carried = [];
    },
    end: (error, topics) => each((reader, name) => (!topics || topics.includes(name)) && reader.end(error)),
  };
  return reading;
}
