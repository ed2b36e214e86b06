import { renewIn, type TokenReason } from "./auth.js";
import { delay } from "./backoff.js";
import { asError, AuthError, type PicloudError, type StatusError, StreamError } from "./errors.js";
import { type Http, requestOf } from "./http.js";
import { type Input, next, type StateName } from "./machine.js";
import type { Frame } from "./parser.js";
import { openStream, type Stream } from "./stream.js";

/** What a stream is to begin with. */
export interface Wants {
  topics: string[];
  /** Topics whose newest event comes first. */
  latest: string[];
  /** The id to resume after. */
  cursor: string | null;
}

/** What a link knows of itself. */
export interface LinkState {
  readonly name: StateName;
  /** When it began, in milliseconds since 1970. */
  readonly since: number;
  /** How many attempts have failed in a row. */
  readonly attempt: number;
  /** While waiting: when the next attempt is due, in milliseconds since 1970. */
  readonly retryAt?: number;
  /** Why the stream is not open. */
  readonly error?: PicloudError;
}

/** Whom a link tells. */
export interface LinkOwner {
  /** wants is asked whenever a stream is to be opened. */
  wants(): Wants;
  /** frames gets all that comes on the stream that counts, with what it was asked for. */
  frames(frames: Frame[], asked: Wants): void;
  /** refuse is called when topics were to join a stream that goes on, and the node does not give them. */
  refuse(topics: string[], error: PicloudError): void;
  /** changed gets each state. */
  changed(state: LinkState): void;
}

/** The one stream of a client through all its connections. */
export interface Link {
  /** update is called when wants may answer otherwise; `again`: the stream begins anew although its topics are the same. */
  update(again?: boolean): void;
  /** wake is called when the network may be back, or the machine. */
  wake(): void;
  /** input makes the link pause, resume or close. */
  input(input: "pause" | "resume" | "close"): void;
}

/** How long a stream must have lived, in milliseconds, for the failed attempts before it to count no more. */
const settled = 10_000;

/**
 * createLink keeps one stream open as machine.ts says. A stream with other topics, or another token, is opened before the one
 * that is open is let go, and takes its place with its first frame: the owner cuts the seam by ids.
 */
export function createLink(http: Http, path: string, lossless: boolean, owner: LinkOwner): Link {
  const { auth } = http;
  let state: LinkState = { name: "idle", since: Date.now(), attempt: 0 };
  let live: Stream | undefined; // it has said hello
  let dialing: Stream | undefined; // it has not
  let asked: Wants | undefined; // for the latter, or the former
  let attempt = 0;
  let renewals = 0; // of the token since a stream was open
  let openedAt = 0;
  let silence = 0; // that a heartbeat ends, in milliseconds
  let retry: number | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined; // of the next attempt
  let renewal: ReturnType<typeof setTimeout> | undefined;

  const enter = (input: Input, more?: Partial<LinkState>): boolean => {
    const name = next(state.name, input);
    if (name) owner.changed((state = { name, since: Date.now(), attempt, ...more }));
    return !!name;
  };

  const hangUp = (): void => {
    live?.close();
    dialing?.close();
    live = dialing = asked = undefined;
    clearTimeout(timer);
    clearTimeout(renewal);
  };

  const stop = (input: Input, error?: PicloudError): void => {
    hangUp();
    attempt = renewals = 0;
    enter(input, error && { error });
  };

  /** fail: the stream that is dialed is refused for good. */
  const fail = (error: PicloudError): void => {
    dialing = undefined;
    const { topics } = asked!;
    const named = (error as StatusError).topic;
    if (named && topics.includes(named)) {
      owner.refuse([named], error);
      return dial(); // for the others
    }
    if (!live) return stop("fatal", error);
    asked!.topics = [...live.topics];
    renewals = 0;
    owner.refuse(topics.filter((topic) => !live!.topics.includes(topic)), error);
  };

  const lost = (error: PicloudError): void => {
    const ms = delay(attempt++, retry, error.retryAfter);
    clearTimeout(timer);
    timer = setTimeout(redial, ms);
    if (!live) enter("lost", { error, retryAt: Date.now() + ms });
  };

  const redial = (): void => {
    enter("retry");
    dial();
  };

  const renew = (token: string | undefined, why: TokenReason, refusal: PicloudError): void => {
    const renewed = renewals++ < 2 ? auth.renew(token, why) : undefined;
    if (!renewed) return fail(new AuthError(refusal.type, refusal.detail, true, refusal.status));
    // What waits for the token holds the place of the stream that will be dialed with it.
    const waiting: Stream = (dialing = { topics: [], expect() {}, check() {}, close() {} });
    renewed.then(
      () => dialing === waiting && dial(),
      (thrown) => {
        if (dialing !== waiting) return;
        const error = asError(thrown);
        dialing = undefined;
        if (error.fatal) fail(error);
        else lost(error);
      },
    );
  };

  const dial = (): void => {
    dialing?.close();
    clearTimeout(timer);
    const want = (asked = owner.wants());
    const { topics, latest, cursor } = want;
    let token: string | undefined;
    const send = async (signal: AbortSignal): Promise<Response> => {
      token = await auth.get();
      const query = new URLSearchParams();
      for (const topic of topics) query.append("topic", topic);
      for (const topic of latest) query.append("latest", topic);
      if (lossless) query.set("lossless", "1");
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (cursor) headers["Last-Event-ID"] = cursor;
      return http.fetch.call(undefined, http.base + path + "?" + query, requestOf(http, token, { headers, signal, cache: "no-store" }));
    };

    const onFrames = (frames: Frame[]): void => {
      const [first] = frames;
      if (stream === dialing) {
        if (first!.event !== "hello") return ended(new StreamError("the stream does not begin as that of a node"), true);
        if (owner.wants().topics.join() !== topics.join()) return dial(); // they have changed meanwhile
        const hello = JSON.parse(first!.data!);
        if (first!.retry !== undefined) retry = first!.retry;
        if (hello.resume) {
          live?.close();
          live = stream;
          dialing = undefined;
          renewals = 0;
          openedAt = Date.now();
          silence = (hello.heartbeat_sec || 30) * 1000;
          stream.expect(silence * 2.5);
          clearTimeout(renewal);
          const ms = renewIn(token);
          if (ms) renewal = setTimeout(() => auth.renew(token, "soon")?.then(() => live === stream && dial(), () => {}), ms);
          enter("hello");
        }
      }
      if (stream !== live && stream !== dialing) return;
      owner.frames(frames, want);
      const expired = frames.find((frame) => frame.event === "expired");
      if (!expired) return;
      const { reason } = JSON.parse(expired.data!);
      stream.close();
      const error = new StreamError("the right to read has ended: " + reason);
      if (reason === "topic") return ended(error);
      if (stream === live) {
        live = undefined;
        enter("redial", { error });
      }
      if (!dialing || stream === dialing) renew(token, reason === "token" ? "expired" : "refused", error);
    };

    const ended = (error: PicloudError, close?: boolean): void => {
      if (close) stream.close();
      if (stream === live) {
        live = undefined;
        clearTimeout(renewal);
        if (Date.now() - openedAt >= settled) attempt = 0;
        if (dialing) enter("redial", { error });
        else lost(error);
      } else if (stream === dialing) {
        dialing = undefined;
        if (error.status === 401) renew(token, "refused", error);
        else if (error.fatal) fail(error);
        else lost(error);
      }
    };

    const stream = (dialing = openStream(topics, send, onFrames, ended));
  };

  return {
    update(again) {
      const { topics } = owner.wants();
      if (!topics.length) stop("unsubscribe");
      else if (enter("subscribe")) dial();
      else if (asked && (live ?? dialing) && (again || topics.join() !== asked.topics.join())) dial();
    },
    wake() {
      live?.check(silence);
      if (state.name === "waiting") redial();
    },
    input(input) {
      if (input === "resume") {
        if (enter(input)) dial();
      } else if (next(state.name, input)) {
        stop(input);
      }
    },
  };
}
