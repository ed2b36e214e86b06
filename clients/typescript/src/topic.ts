import { createEmitter, type Emitter } from "./emitter.js";
import { InvalidError, PicloudError } from "./errors.js";
import { isAfter } from "./position.js";
import { createQueue, type Queue } from "./queue.js";
import { type Validator, validate } from "./validate.js";

/** An event of a topic. */
export interface TopicEvent<T> {
  /** Its place in the history of the app; absent for states, which have none. */
  readonly id?: string;
  readonly topic: string;
  readonly data: T;
  /** When the node took it, by the node's clock. */
  readonly publishedAt: Date;
  /** What published it: `key:…`, `script:…`, `local`, `system` … */
  readonly source: string;
  /** The node that it comes from, where that is another one. */
  readonly node?: string;
  /** Set where the node's clock was not: publishedAt is not the true time. */
  readonly unsynced?: true;
}

/** Some events have not come, and will not. */
export interface Gap {
  readonly missed: number;
  /** The id before them; absent where the buffer of an iterator was full. */
  readonly after?: string;
  /** The id that the stream goes on with. */
  readonly next?: string;
  /** None of them is after this id. */
  readonly until?: string;
  /** How many of each topic; absent where the buffer of an iterator was full. */
  readonly topics?: { readonly [topic: string]: number };
}

/** Events after the cursor are missing in the history: fetch the state anew. */
export interface Reset {
  /** `gone`: removed by retention; `foreign`: of another history. */
  readonly reason: string;
  /** From where the events come now. */
  readonly position: string;
}

/** Where a topic begins: an id (after it), a time, a duration before now (`10m`, `7d`), `all`, or `latest` (the newest event, then live). */
export type Since = "all" | "latest" | Date | (string & {});

/** What a topic may be told. */
export interface TopicOptions<T> {
  /** Where to begin; now, if not given. */
  since?: Since | undefined;
  /** Makes a T of the data of each event. What does not pass goes to onInvalid; the topic goes on. It has to answer at once. */
  validate?: Validator<T> | undefined;
  onInvalid?: ((error: InvalidError, event: TopicEvent<unknown>) => void) | undefined;
  /** `latest`: at most one event per animation frame, the newest. */
  mode?: "all" | "latest" | undefined;
  /** How many events wait for a loop that is slow, 1000 if not given. Beyond it the oldest are dropped, and `gap` says so. */
  buffer?: number | undefined;
}

/** What a topic tells, by kind. */
export interface TopicEvents<T> {
  event: TopicEvent<T>;
  /** An event that did not pass the validator. */
  invalid: InvalidError;
  gap: Gap;
  reset: Reset;
  /** The topic has ended: with an error, unless by close. */
  close: PicloudError | undefined;
}

/**
 * A subscribed topic, read with listeners or with `for await`. Listeners begin at the call of `on`, the first loop at that of `topic()`, or where the
 * last listener was taken off.
 */
export interface Topic<T> extends AsyncIterable<TopicEvent<T>> {
  readonly name: string;
  /** Resolves when the topic is on an open stream, rejects when it ends before that. */
  readonly ready: Promise<void>;
  /** The newest event that has come. */
  readonly last: TopicEvent<T> | undefined;
  /** on calls a listener for each event of a kind, before the next frame is read, until the function that it returns is called. */
  on<K extends keyof TopicEvents<T>>(kind: K, listener: (event: TopicEvents<T>[K]) => void): () => void;
  /** close ends the topic. A loop that is left with `break` does it, too, where nothing else reads the topic. */
  close(): void;
}

/** A topic from the inside. */
export interface Reader<T = unknown> extends Pick<Emitter<TopicEvents<T>>, "emit"> {
  readonly name: string;
  readonly topic: Topic<T>;
  readonly since: Since | undefined;
  /** Whether the newest event is wanted first, and has not come. */
  latest: boolean;
  /** Gets the events of the stream; undefined while the topic is on none. */
  sink: ((event: TopicEvent<unknown>) => void) | undefined;
  /** The id of the newest event delivered, by node ("" is the node that is asked). Two streams that overlap bring events twice: those up to it are dropped. */
  readonly seen: Map<string, string>;
  /** Whether it has ended. */
  over: boolean;
  /** Aborted when it has ended. */
  signal: AbortSignal;
  /** take delivers an event, if it is new. */
  take(event: TopicEvent<unknown>): void;
  ready(): void;
  end(error?: PicloudError): void;
}

/** createReader makes a topic, or throws an InvalidError for a name that no topic can have. onClose is called once when it has ended, by whatever. */
export function createReader<T>(name: string, options: TopicOptions<T>, onClose: () => void): Reader<T> {
  const { since, validate: validator, onInvalid, mode, buffer = 1000 } = options;
  if (!/^\$?[\w./-]{1,128}$/.test(name)) throw new InvalidError("names of topics have 1 to 128 of A-Z a-z 0-9 . _ / -", undefined, name);
  const { on, emit } = createEmitter<TopicEvents<T>>();
  const ended = new AbortController();
  let resolve!: () => void;
  let reject!: (error: PicloudError | undefined) => void;
  const ready = new Promise<void>((...both) => ([resolve, reject] = both));
  ready.catch(() => {}); // a rejection that no caller awaits is no error
  let last: TopicEvent<T> | undefined;
  let cause: PicloudError | undefined;
  let listening = 0;
  let pending = false; // a frame that will show last
  const queues = new Set<Queue<TopicEvent<T>>>();
  const seen = new Map<string, string>();

  const open = (): Queue<TopicEvent<T>> => {
    const queue = createQueue<TopicEvent<T>>(buffer, () => {
      queues.delete(queue);
      if (!queues.size && !listening) end();
    });
    if (reader.over) queue.end(cause);
    else queues.add(queue);
    return queue;
  };
  let early: Queue<TopicEvent<T>> | undefined;

  const show = (): void => {
    pending = false;
    if (reader.over) return;
    for (const queue of queues) if (!queue.push(last!)) emit("gap", { missed: 1 });
    emit("event", last!);
  };

  const end = (error?: PicloudError): void => {
    if (reader.over) return;
    reader.over = true;
    cause = error;
    ended.abort();
    for (const queue of queues) queue.end(error);
    reject(error ?? new PicloudError("closed", "the topic is closed", true));
    onClose();
    emit("close", error);
  };

  const reader: Reader<T> = {
    name,
    topic: {
      name,
      ready,
      get last() {
        return last;
      },
      on(kind, listener) {
        const off = on(kind, listener);
        if (kind !== "event") return off;
        listening++;
        if (early) queues.delete(early);
        early = undefined;
        return () => {
          if (off() && !--listening && !queues.size && !reader.over) early = open();
        };
      },
      close: () => end(),
      [Symbol.asyncIterator]() {
        const queue = early ?? open();
        early = undefined;
        return queue;
      },
    },
    since,
    latest: since === "latest",
    sink: undefined,
    seen,
    over: false,
    signal: ended.signal,
    take(event) {
      const { id, node = "" } = event;
      if (reader.over) return;
      if (id) {
        if (!isAfter(id, seen.get(node))) return;
        seen.set(node, id);
        if (!node) reader.latest = false;
      }
      try {
        const data = validate(validator, event.data);
        if (data instanceof Promise) {
          data.catch(() => {});
          throw new InvalidError("validators of topics have to answer at once", undefined, event.data);
        }
        last = { ...event, data };
      } catch (thrown) {
        const off = onInvalid && on("invalid", (error) => onInvalid(error, event)); // it may throw, as any listener
        emit("invalid", thrown as InvalidError);
        off?.();
        return;
      }
      if (mode !== "latest") show();
      else if (!pending) {
        pending = true;
        (globalThis.requestAnimationFrame ?? ((f: () => void) => setTimeout(f, 16)))(show);
      }
    },
    emit,
    ready: resolve,
    end,
  };
  // What comes before there is a loop or a listener is kept for the first of them that is a loop.
  early = open();
  return reader;
}
