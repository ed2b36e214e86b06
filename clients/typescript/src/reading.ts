import { backfill } from "./backfill.js";
import type { Core } from "./core.js";
import { StreamError } from "./errors.js";
import { eventOf } from "./event.js";
import type { LinkOwner } from "./link.js";
import type { Frame } from "./parser.js";
import { isAfter } from "./position.js";
import type { Reader, Since, TopicEvent } from "./topic.js";

/** The topics that are read, and how far. */
export interface Reading extends LinkOwner {
  /** Topics go on after the cursor that the client was made with: the first stream has not begun. */
  readonly restores: boolean;
  /** join is called when a topic is read whose name may be on the stream already. */
  join(reader: Reader): void;
  /** cursor returns the id up to which all topics have come: before that of the stream while a topic reads its history. */
  cursor(): string | null;
}

/**
 * createReading hands what comes on streams to topics. Each topic cuts what it has by ids, within an epoch, so that streams may overlap;
 * the cursor moves with the frames alone, and never back within a stream, since events in front are older.
 */
export function createReading(core: Core): Reading {
  const { readers, emit } = core;
  let carried: readonly string[] = []; // by the stream that is open; none: it is not
  let restores = core.cursor !== null;
  let historyEnd = ""; // the newest id when the stream began: events up to it are history
  const behind = new Set<Reader>(); // topics that read their history
  const asked = new WeakMap<Reader, number>(); // when

  /** each calls f for the readers of topics. */
  const each = (topics: readonly string[], f: (reader: Reader) => void): void =>
    readers.forEach((reader) => topics.includes(reader.name) && f(reader));

  /** fill makes a reader take its history, and then what the stream brings meanwhile. */
  const fill = (reader: Reader, since: Since): void => {
    behind.add(reader);
    void backfill(core, reader, since, historyEnd).then(() => behind.delete(reader));
  };

  /**
   * start connects a reader to the stream, which sends the events after `resume`. A topic that begins now takes those published since the call of
   * `topic()`, by the clock of the node; older ones are history.
   */
  const start = (reader: Reader, resume: string, time?: string): void => {
    const { since, take } = reader;
    const border = historyEnd;
    const isOld = ({ id }: TopicEvent<unknown>): boolean => !!id && isAfter(id, resume) && !isAfter(id, border);
    reader.sink = take;
    reader.ready();
    if (since === undefined) {
      const from = Date.parse(time!) - (Date.now() - asked.get(reader)!);
      reader.seen.set("", resume);
      if (restores) return;
      reader.sink = (event) => {
        const old = isOld(event);
        if (!old && !event.node) reader.sink = take;
        if (!old || +event.publishedAt >= from) take(event);
      };
    } else if (since !== "latest") fill(reader, since);
    else {
      reader.sink = (event) => {
        if (event.node) return take(event);
        reader.sink = take; // for the newest event, which the stream brings first, or one that is new
        if (isOld(event)) fill(reader, since); // there may be newer ones
        reader.sink(event);
      };
    }
  };

  const take = ({ event, data, id }: Frame, topics: readonly string[]): void => {
    if (id && isAfter(id, core.cursor)) core.cursor = id;
    if (data === undefined) return;
    const body = JSON.parse(data);
    if (!event || event === "message") {
      const told = eventOf(body, body.id ?? id);
      each([told.topic], (reader) => reader.sink?.(told));
    } else if (event === "hello") {
      const { resume, newest = resume, time, node, resumed } = body;
      if (!resume) return; // the stream ends before it has begun
      const isBack = !carried.length;
      carried = topics;
      core.cursor = resume;
      historyEnd = newest;
      each(topics, (reader) => reader.sink || start(reader, resume, time));
      restores = false;
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
    get restores() {
      return restores;
    },
    join(reader) {
      asked.set(reader, Date.now());
      if (!carried.includes(reader.name)) return;
      if (isAfter(core.cursor!, historyEnd)) historyEnd = core.cursor!;
      start(reader, core.cursor!);
    },
    cursor() {
      let { cursor } = core;
      for (const { since, seen, over } of behind) {
        if (over || since === "latest") continue;
        const own = seen.get("") ?? cursor!.replace(/\d+$/, "0"); // the beginning: nothing has come
        if (isAfter(cursor!, own)) cursor = own;
      }
      return cursor;
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
