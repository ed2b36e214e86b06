import { createAuth, type TokenSource } from "./auth.js";
import type { Core } from "./core.js";
import { createEmitter } from "./emitter.js";
import { type Endpoint, endpoint, type EndpointOptions, type Method } from "./endpoint.js";
import { PicloudError } from "./errors.js";
import type { HistoryOptions } from "./history.js";
import { type Http, segment } from "./http.js";
import { load } from "./load.js";
import { type Draft, publish, publishAll, type Published, type PublishOptions } from "./publish.js";
import { type State, stateOf } from "./state.js";
import type { Streaming } from "./streaming.js";
import { createReader, type Gap, type Reader, type Reset, type Topic, type TopicEvent, type TopicOptions } from "./topic.js";

/** After how many milliseconds the part that makes streams is asked for again when it could not be loaded. */
const loadAgain = 5000;

export type { State } from "./state.js";

/** What a client is made with. */
export interface ClientOptions extends TokenSource {
  /** The app whose topics and endpoints are used. */
  app: string;
  /** The node, such as `http://pi.local:7420`; where the page is from, if not given. */
  url?: string | undefined;
  /** The id to resume after: the `cursor` of a client before. */
  cursor?: string | undefined;
  /** Have the node read again what a slow reader has missed, instead of telling a gap. */
  lossless?: boolean | undefined;
  /** One stream for all tabs of a browser that read the same app of the same node with the same rights; so it is in pages, if not given. */
  share?: boolean | undefined;
  /** Close the stream of a page that is hidden: after 30 s, or so many milliseconds. It goes on where it was. */
  pauseWhenHidden?: boolean | number | undefined;
  /** Sends requests; the global one, if not given. It has to stream: in React Native pass that of `expo/fetch`. */
  fetch?: typeof fetch | undefined;
  /** Added to each request: headers, `credentials` and the like; what makes a request that one, and ends it, is the client's. */
  init?: Omit<RequestInit, "method" | "body" | "signal"> | undefined;
}

/** What a client tells, by kind. */
export interface ClientEvents {
  state: State;
  /** The stream is open; not told when it is replaced by one with other topics. */
  open: { readonly node: string; readonly resumed: boolean };
  /** It goes on where it was: nothing is missing. */
  resumed: { readonly cursor: string };
  reset: Reset;
  gap: Gap;
  /** The right to read has ended: `token`, `revoked` or `topic`: deleted or internal, with its name unless all are. */
  expired: { readonly reason: string; readonly topic?: string };
  /** The node ends the stream: `shutdown` or `error`. The client comes back. */
  bye: { readonly reason: string };
  /** Each failure. A `fatal` one ends its topic, or the client. */
  error: PicloudError;
}

/** A client of one app of a node: one stream for its topics, or several where they do not fit on one, and requests. */
export interface Client {
  /** topic begins to read a topic, with what others are read on the stream of the client. It throws an InvalidError for a name that no topic can have. */
  topic<T = unknown>(name: string, options?: TopicOptions<T>): Topic<T>;
  /** publish publishes an event; it resolves when the node keeps it. Nothing is sent again by itself. */
  publish<T = unknown>(topic: string, data: T, options?: PublishOptions): Promise<Published>;
  /** publishAll publishes up to 1000 events, all or none. */
  publishAll(drafts: readonly Draft[], options?: PublishOptions): Promise<Published[]>;
  /** history reads the events of a topic that are kept, oldest first. */
  history<T = unknown>(topic: string, options?: HistoryOptions): AsyncGenerator<TopicEvent<T>, void, undefined>;
  /** endpoint returns a function that asks a script of the app; `{name}` in the path stands for that field of the request. It throws an InvalidError for a path that none can have. */
  endpoint<Req = void, Res = unknown>(method: Method, path: string, options?: EndpointOptions<Req, Res>): Endpoint<Req, Res>;
  readonly state: State;
  /** The id up to which all has come: keep it and pass it to the next client. null while nothing is read. */
  readonly cursor: string | null;
  /** on calls a listener for each event of a kind until the function that it returns is called. */
  on<K extends keyof ClientEvents>(kind: K, listener: (event: ClientEvents[K]) => void): () => void;
  /** close ends the stream and all topics for good. Requests can still be made. */
  close(): void;
}

/** createClient returns a client. It connects when the first topic is read. */
export function createClient(options: ClientOptions): Client {
  const { app, url = "", cursor = null, fetch: fetcher = fetch, init } = options;
  const http: Http = { base: url.replace(/\/$/, ""), auth: createAuth(options), fetch: fetcher, init };
  const path = "/v1/apps/" + segment(app);
  const { on, emit } = createEmitter<ClientEvents>();
  const readers = new Set<Reader>();
  const core: Core = {
    options,
    http,
    path,
    readers,
    cursor,
    state: stateOf("idle", false),
    emit,
    changed(state, { name, error } = state, ended = readers) {
      if (closed()) return;
      if (core.state !== state) emit("state", (core.state = state));
      if (error) emit("error", error);
      if (name === "stopped" || name === "closed") ended.forEach((reader) => reader.end(error));
    },
  };
  let streaming: Streaming | undefined;
  let scheduled = false;

  const closed = (): boolean => core.state.name === "closed";

  const run = async (): Promise<void> => {
    if (closed()) return;
    if (!streaming) {
      try {
        if (readers.size) {
          streaming = await (await load()).createStreaming(core);
          readers.forEach(streaming.join);
        }
      } catch (thrown) {
        core.changed(stateOf("waiting", false, { error: thrown as PicloudError, retryAt: Date.now() + loadAgain }));
        setTimeout(run, loadAgain);
        return;
      }
      if (closed()) return streaming?.input("close");
      if (core.state.name === "waiting") core.changed(stateOf("idle", false)); // it could not be loaded before
    }
    scheduled = false;
    streaming?.update();
  };
  const update = (): void => {
    if (!scheduled) queueMicrotask(run); // what changes in one turn is one change
    scheduled = true;
  };

  return {
    topic<T>(name: string, o: TopicOptions<T> = {}) {
      const reader = createReader<T>(name, o, () => {
        readers.delete(reader as Reader);
        streaming?.leave(reader as Reader);
        update();
      });
      if (closed()) reader.end(new PicloudError("closed", "the client is closed", true));
      else {
        readers.add(reader as Reader);
        streaming?.join(reader as Reader);
        update();
      }
      return reader.topic;
    },
    publish: (topic, data, o) => publish(http, path, topic, data, o),
    publishAll: (drafts, o) => publishAll(http, path, drafts, o),
    async *history(topic, o) {
      const { history } = await load();
      yield* history(http, path, topic, o);
    },
    endpoint: (method, at, o) => endpoint(http, app, method, at, o),
    get state() {
      return core.state;
    },
    get cursor() {
      return streaming ? streaming.cursor() : core.cursor;
    },
    on,
    close() {
      if (streaming) streaming.input("close");
      else core.changed(stateOf("closed", false));
    },
  };
}
