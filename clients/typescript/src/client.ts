import { claims, createAuth, type TokenSource } from "./auth.js";
import { createEmitter } from "./emitter.js";
import { type Endpoint, endpoint, type EndpointOptions, type Method } from "./endpoint.js";
import { PicloudError, StreamError } from "./errors.js";
import { history, type HistoryOptions } from "./history.js";
import type { Http } from "./http.js";
import { createLink, type LinkState, type Wants } from "./link.js";
import { next } from "./machine.js";
import { watchPage } from "./page.js";
import type { Frame } from "./parser.js";
import { type Draft, publish, publishAll, type Published, type PublishOptions } from "./publish.js";
import { createReading } from "./reading.js";
import { createTabs, type Tabs } from "./tabs.js";
import { createReader, type Gap, type Reader, type Reset, type Topic, type TopicEvent, type TopicOptions } from "./topic.js";

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
  /** Added to each request. */
  init?: RequestInit | undefined;
}

/** What a client is doing. */
export interface State extends LinkState {
  /** Whether newer events may be missing, because the stream is not open. */
  readonly stale: boolean;
  /** Whether the stream is this client's own, and not another tab's. */
  readonly leader: boolean;
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

/** A client of one app of a node: one stream for all its topics, and requests. */
export interface Client {
  /** topic begins to read a topic, with what others are read on the one stream of the client. */
  topic<T = unknown>(name: string, options?: TopicOptions<T>): Topic<T>;
  /** publish publishes an event; it resolves when the node keeps it. Nothing is sent again by itself. */
  publish<T = unknown>(topic: string, data: T, options?: PublishOptions): Promise<Published>;
  /** publishAll publishes up to 1000 events, all or none. */
  publishAll(drafts: readonly Draft[], options?: PublishOptions): Promise<Published[]>;
  /** history reads the events of a topic that are kept, oldest first. */
  history<T = unknown>(topic: string, options?: HistoryOptions): AsyncGenerator<TopicEvent<T>, void, undefined>;
  /** endpoint returns a function that asks a script of the app; `{name}` in the path stands for that field of the request. */
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
  const { app, url = "", pauseWhenHidden, share = typeof document === "object" } = options;
  const http: Http = { base: url.replace(/\/$/, ""), auth: createAuth(options), fetch: options.fetch ?? fetch, init: options.init };
  const path = "/v1/apps/" + encodeURIComponent(app);
  const { on, emit } = createEmitter<ClientEvents>();
  let state: State = { name: "idle", since: Date.now(), attempt: 0, stale: true, leader: false };
  let comesBack = false; // the next hello is of a stream that was not open
  let scheduled = false;
  let again = false;

  const reading = createReading(http, path, options.cursor ?? null, {
    hello({ node, resumed, resume }) {
      if (!comesBack) return;
      comesBack = false;
      emit("open", { node, resumed });
      if (resumed) emit("resumed", { cursor: resume });
    },
    reset: (reset) => emit("reset", reset),
    gap: (gap) => emit("gap", gap),
    ending: emit,
    error: (error) => emit("error", error),
  });

  const frames = (all: Frame[], { topics }: Pick<Wants, "topics">): void => {
    for (const frame of all) {
      try {
        reading.take(frame, topics);
      } catch (thrown) {
        emit("error", new StreamError("a frame cannot be read: " + thrown));
      }
    }
  };

  const enter = (now: LinkState): void => {
    const { name, error } = now;
    const open = name === "open";
    if (open) comesBack ||= state.name !== "open";
    else reading.lost();
    state = { ...now, stale: !open, leader: tabs?.leads ?? true };
    if (name === "idle" || name === "stopped") reading.cursor = null; // the next topics begin with new events
    emit("state", state);
    if (error) emit("error", error);
    if (name === "stopped" || name === "closed") reading.end(error);
    if (tabs?.leads && (name === "idle" || name === "stopped")) tabs.leave();
  };

  const link = createLink(http, path + "/events", options.lossless ?? false, {
    wants: () => (tabs ?? reading).wants(),
    frames(all, asked) {
      tabs?.relay(state, all, asked);
      frames(all, asked);
    },
    refuse(topics, error) {
      tabs?.refuse(topics);
      emit("error", error);
      reading.end(error, topics);
    },
    changed(now) {
      if (tabs && !tabs.leads) return; // the state is that of the leader
      enter(now);
      tabs?.relay(now);
    },
  });

  let tabs: Tabs | undefined;
  const joined =
    share && typeof BroadcastChannel === "function"
      ? http.auth.get().then(
          (token) => {
            if (state.name === "closed") return;
            const { sub, topics } = claims(token) ?? {};
            // Tabs that may read the same share: a token that is renewed, or of another tab, has other times only.
            const who = sub === undefined ? token : sub + topics;
            tabs = createTabs(["picloud", http.base, app, options.lossless, who].join(), {
              wants: reading.wants,
              lead: link.update,
              follow: (now) => (now.name !== state.name || now.since !== state.since) && enter(now),
              frames,
              alone() {
                tabs?.close();
                tabs = undefined;
                link.update(false);
              },
            });
          },
          () => {}, // the stream reports the error
        )
      : undefined;

  const update = (anew: boolean): void => {
    again ||= anew;
    if (scheduled) return;
    scheduled = true; // what changes in one turn is one change
    void Promise.resolve(joined).then(() => {
      scheduled = false;
      const now = again;
      again = false;
      (tabs ?? link).update(now);
    });
  };

  const unwatch = watchPage(
    {
      wake() {
        tabs?.wake();
        link.wake();
      },
      pause() {
        if (!tabs) link.input("pause");
        else if (next(state.name, "pause")) {
          tabs.leave();
          link.update(false);
          enter({ name: "paused", since: Date.now(), attempt: 0 });
        }
      },
      resume() {
        if (!tabs) link.input("resume");
        else if (next(state.name, "resume")) tabs.update(false);
      },
    },
    pauseWhenHidden === true ? 30_000 : pauseWhenHidden || undefined,
  );

  return {
    topic<T>(name: string, topicOptions: TopicOptions<T> = {}) {
      const reader = createReader<T>(name, topicOptions, () => {
        reading.remove(reader as Reader);
        update(false);
      });
      if (state.name === "closed") reader.end(new PicloudError("closed", "the client is closed", true));
      else {
        reading.add(reader as Reader);
        update(reader.latest);
      }
      return reader.topic;
    },
    publish: (topic, data, o) => publish(http, path, topic, data, o),
    publishAll: (drafts, o) => publishAll(http, path, drafts, o),
    history: (topic, o) => history(http, path, topic, o),
    endpoint: (method, at, o) => endpoint(http, app, method, at, o),
    get state() {
      return state;
    },
    get cursor() {
      return reading.cursor;
    },
    on,
    close() {
      unwatch();
      tabs?.close();
      tabs = undefined;
      link.input("close");
    },
  };
}
