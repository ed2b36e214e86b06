import { backfill } from "./backfill.js";
import type { Core } from "./core.js";
import { StreamError } from "./errors.js";
import { eventOf } from "./event.js";
import type { LinkOwner } from "./link.js";
import type { Frame } from "./parser.js";
import { isAfter } from "./position.js";
import type { Reader } from "./topic.js";

/** The topics that are read, and how far. */
export interface Reading extends LinkOwner {
  /** join is called when a topic is read whose name may be on the stream already. */
  join(reader: Reader): void;
}

/**
 * createReading hands what comes on streams to topics. Each topic cuts what it has by ids, within an epoch, so that streams may overlap;
 * the cursor moves with the frames alone, and never back within a stream, since events in front are older.
 */
export function createReading(core: Core): Reading {
  const { readers, emit } = core;
  let carried: readonly string[] = []; // by the stream that is open; none: it is not

  /** each calls f for the readers of topics. */
  const each = (topics: readonly string[], f: (reader: Reader) => void): void =>
    readers.forEach((reader) => topics.includes(reader.name) && f(reader));

  /** start: the topic of a reader is on the stream, from `border` on. */
  const start = (reader: Reader, border: string): void => {
    const { since } = reader;
    reader.sink = reader.take;
    if (since !== undefined && since !== "latest") void backfill(core, reader, since, border);
    else if (!reader.latest) reader.seen.set("", border);
    reader.ready();
  };

  const take = ({ event, data, id }: Frame, topics: readonly string[]): void => {
    if (id && isAfter(id, core.cursor)) core.cursor = id;
    if (data === undefined) return;
    const body = JSON.parse(data);
    if (!event || event === "message") {
      const told = eventOf(body, body.id ?? id);
      each([told.topic], (reader) => reader.sink?.(told));
    } else if (event === "hello") {
      const { resume, node, resumed } = body;
      if (!resume) return; // the stream ends before it has begun
      const isBack = !carried.length;
      carried = topics;
      core.cursor = resume;
      each(topics, (reader) => reader.sink || start(reader, resume));
      if (isBack) emit("open", { node, resumed });
      if (isBack && resumed) emit("resumed", { cursor: resume });
    } else if (event === "reset" || event === "gap" || event === "expired" || event === "bye") {
      if (event === "reset") {
        core.cursor = body.position;
        readers.forEach((reader) => reader.emit(event, body));
      }
      if (event === "gap") {
        for (const reader of readers) {
          const missed = body.topics?.[reader.name];
          if (missed) reader.emit(event, { ...body, missed });
        }
      }
      emit(event, body);
    }
  };

  const unique = (all: Reader[]): string[] => [...new Set(all.map((reader) => reader.name))].sort();

  return {
    wants: () => ({ topics: unique([...readers]), latest: unique([...readers].filter((reader) => reader.latest)), cursor: core.cursor }),
    join(reader) {
      if (carried.includes(reader.name)) start(reader, core.cursor!);
    },
    frames(frames, { topics }) {
      for (const frame of frames) {
        try {
          take(frame, topics);
        } catch (thrown) {
          emit("error", new StreamError("stream", "a frame cannot be read: " + thrown));
        }
      }
    },
    refuse(topics, error) {
      emit("error", error);
      each(topics, (reader) => reader.end(error));
    },
    changed(state) {
      const { name } = state;
      if (state.stale) carried = [];
      if (name === "idle" || name === "stopped") core.cursor = null; // the next topics begin with new events
      core.changed(state);
    },
  };
}
