import { renewIn } from "./auth.js";
import { delay } from "./backoff.js";
import { AuthError, NetworkError, type PicloudError, type StatusError, StreamError, TimeoutError } from "./errors.js";
import { type Http, send } from "./http.js";
import { type Input, next, type StateName } from "./machine.js";
import type { Frame } from "./parser.js";
import { type LinkState, type State, stateOf } from "./state.js";
import { notOfNode, openStream, type Stream } from "./stream.js";

/** What a stream is to begin with. */
export interface Wants {
  topics: string[];
  /** Topics whose newest event comes first. */
  latest: string[];
  /** The id to resume after. */
  cursor: string | null;
}

/** fits reports whether one stream can carry topics: a node takes 64, and a head of 16 KiB, in which names may be twice. */
export function fits(topics: readonly string[]): boolean {
  const names = [...new Set(topics)];
  return names.length <= 64 && names.join().length < 5000;
}

/** The reader of a link. */
export interface LinkOwner {
  /** wants is asked whenever a stream is to be opened. */
  wants(): Wants;
  /** frames gets all that comes on the stream that counts, with what it was asked for. */
  frames(frames: Frame[], asked: Pick<Wants, "topics" | "latest">): void;
  /** refuse is called when topics were to join a stream that goes on, and the node does not give them. */
  refuse(topics: string[], error: PicloudError): void;
  /** changed gets each state. */
  changed(state: State): void;
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

/** Heartbeats without a byte that end a stream. */
const missedHeartbeats = 2.5;

/** The pauses between streams that are asked for in a row, in milliseconds: from the shortest, doubled each time, to the longest. */
const shortestPause = 50;
const longestPause = 250;

/** After how many milliseconds more than the pause a stream is no longer one in a row. */
const calm = 1000;

/**
 * createLink keeps one stream open as machine.ts says. A stream with other topics, or another token, is opened before the one
 * that is open is let go, and takes its place with its first frame: the owner cuts the seam by ids. Topics that come while one is
 * on its way wait for it; a stream is never given up for another one, so that topics that come one by one are on a stream soon.
 */
export function createLink(http: Http, path: string, lossless: boolean | undefined, owner: LinkOwner): Link {
  const { auth } = http;
  let name: StateName = "idle";
  let live: Dial | undefined; // it has said hello
  let dialing: Dial | undefined; // it has not
  let anew = false; // the stream has to begin anew with the same topics
  let attempt = 0;
  let retry: number | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined; // of the next attempt
  let renewal: ReturnType<typeof setTimeout> | undefined;
  let asked = 0; // when the pause began
  let pause = 0; // in which nothing is asked for, whatever happens
  let busy: PicloudError | undefined; // with what the node has asked for a long one

  const enter = (input: Input, more?: Partial<LinkState>): boolean => {
    const to = next(name, input);
    if (to) owner.changed(stateOf((name = to), true, { attempt, ...more }));
    return !!to;
  };

  const stop = (input: Input, error?: PicloudError): void => {
    live?.close();
    dialing?.close();
    live = dialing = undefined;
    cancel();
    clearTimeout(renewal);
    attempt = 0;
    enter(input, error && { error });
  };

  const cancel = (): void => {
    clearTimeout(timer);
    timer = undefined;
  };

  /**
   * plan asks for a stream after `ms` milliseconds, if there are any, and never before the pause is over; it returns after how many that is. Where there
   * is none meanwhile, and an error, it is lost.
   */
  const plan = (ms?: number, error?: PicloudError): number => {
    cancel();
    const wait = Math.max(ms ?? 0, Math.min(pause, asked + pause - Date.now())); // the clock may have been set back
    const due = (): void => {
      timer = undefined;
      enter("retry");
      if (!live || isOther()) dial();
      else enter("hello"); // the topics that were to join have left
    };
    if (ms === undefined && wait <= 0) due();
    else timer = setTimeout(due, wait);
    if (error && timer) {
      const more = { error, retryAt: Date.now() + wait };
      if (live) owner.changed(stateOf(name, true, { attempt, ...more })); // it goes on, without the topics that were to join
      else enter("lost", more);
    }
    return wait;
  };

  /** isOther reports whether the stream has to be another one. */
  const isOther = (): boolean => anew || owner.wants().topics.join() !== live!.topics.join();

  const dial = (): void => {
    const now = Date.now();
    pause = now - asked > pause + calm ? 0 : Math.min(longestPause, 2 * pause || shortestPause);
    asked = now;
    anew = false;
    busy = undefined;
    const wants = owner.wants();
    const { topics, latest, cursor } = wants;
    if (!topics.length) return; // update is about to say so
    // Names have nothing that would have to be escaped, and escaping may make them three times as long.
    const query = "?topic=" + topics.join("&topic=") + latest.map((topic) => "&latest=" + topic).join("") + (lossless ? "&lossless=1" : "");
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (cursor) headers["Last-Event-ID"] = cursor.replace(/[^!-~]/g, "?"); // the node answers a malformed id with a reset
    let token: string | undefined;
    let openedAt: number;
    let regains = false; // the stream has ended for want of a right; another token is on its way, or it goes on without a topic

    const open = async (signal: AbortSignal): Promise<Response> => {
      let res: Response;
      [res, token] = await send(http, path + query, { headers, signal, cache: "no-store" });
      return res;
    };

    const onFrames = (frames: Frame[]): void => {
      let begins = false;
      if (stream === dialing) {
        const [{ event, data, retry: told }] = frames as [Frame];
        const hello = event === "hello" && JSON.parse(data!);
        if (!hello) throw notOfNode();
        retry = told ?? retry;
        if ((begins = hello.resume)) {
          live?.close();
          live = stream;
          dialing = undefined;
          openedAt = Date.now();
          stream.expect((hello.heartbeat_sec || 30) * 1000 * missedHeartbeats);
          clearTimeout(renewal);
          const ms = renewIn(token);
          if (ms) renewal = setTimeout(() => auth.renew(token, "soon")?.then(() => live === stream && update(true), () => {}), ms);
          enter("hello");
        }
      }
      if (stream !== live && stream !== dialing) return; // the owner has closed it
      owner.frames(frames, wants);
      for (const { event, data } of frames) {
        if (event === "bye") throw new NetworkError("network", "the node has ended the stream: " + JSON.parse(data!).reason); // a proxy may keep the connection
        if (event !== "expired") continue;
        const { reason } = JSON.parse(data!);
        const detail = "the right to read has ended: " + reason;
        regains = true;
        if (reason !== "topic" && !auth.renew(token, reason === "token" ? "expired" : "refused")) throw new AuthError(event, detail, true);
        throw new StreamError("stream", detail);
      }
      if (begins) update(); // the topics may have changed meanwhile
    };

    const onEnd = (error: PicloudError): void => {
      if (error instanceof TimeoutError) auth.forget(); // what gives tokens may hang
      const { fatal, retryAfter } = error;
      if (stream === live) {
        live = undefined;
        clearTimeout(renewal);
        if (Date.now() - openedAt >= settled) attempt = 0;
        if (!fatal && (dialing || regains)) {
          enter("redial", { error });
          if (!dialing) plan();
          return;
        }
      } else dialing = undefined;
      if (fatal) {
        const { topic } = error as StatusError;
        attempt = 0;
        if (topics.length > 1 && topics.includes(topic!)) {
          owner.refuse([topic!], error);
          dial(); // for the others; each refusal leaves fewer, so that there need be no pause
        } else if (live) owner.refuse(topics.filter((topic) => !live!.topics.includes(topic)), error);
        else stop("fatal", error);
      } else if (!dialing) {
        const ms = plan(delay(attempt++, retry, retryAfter), error);
        if (retryAfter) [asked, pause, busy] = [Date.now(), ms, error];
      }
    };

    const stream: Dial = (dialing = { topics, ...openStream(open, onFrames, onEnd) });
  };

  const update = (again = false): void => {
    anew ||= again;
    if (!owner.wants().topics.length) stop("unsubscribe");
    else if (enter("subscribe")) plan(undefined, busy);
    else if (live && !dialing && !timer && isOther()) plan();
  };

  return {
    update,
    wake() {
      live?.check(1 / missedHeartbeats);
      if (name === "waiting") plan();
    },
    input(input) {
      if (input !== "resume") stop(input);
      else if (enter(input)) plan(undefined, busy);
    },
  };
}

/** A stream, and what it carries. */
interface Dial extends Stream {
  readonly topics: readonly string[];
}
