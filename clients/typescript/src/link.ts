import { renewIn } from "./auth.js";
import { delay } from "./backoff.js";
import { AuthError, type PicloudError, type StatusError, StreamError } from "./errors.js";
import { type Http, send } from "./http.js";
import { type Input, next, type StateName } from "./machine.js";
import type { Frame } from "./parser.js";
import { type LinkState, type State, stateOf } from "./state.js";
import { openStream, type Stream } from "./stream.js";

/** What a stream is to begin with. */
export interface Wants {
  topics: string[];
  /** Topics whose newest event comes first. */
  latest: string[];
  /** The id to resume after. */
  cursor: string | null;
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

/**
 * createLink keeps one stream open as machine.ts says. A stream with other topics, or another token, is opened before the one
 * that is open is let go, and takes its place with its first frame: the owner cuts the seam by ids.
 */
export function createLink(http: Http, path: string, lossless: boolean | undefined, owner: LinkOwner): Link {
  const { auth } = http;
  let name: StateName = "idle";
  let live: Dial | undefined; // it has said hello
  let dialing: Dial | undefined; // it has not
  let attempt = 0;
  let retry: number | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined; // of the next attempt
  let renewal: ReturnType<typeof setTimeout> | undefined;

  const enter = (input: Input, more?: Partial<LinkState>): boolean => {
    const to = next(name, input);
    if (to) owner.changed(stateOf((name = to), true, { attempt, ...more }));
    return !!to;
  };

  const stop = (input: Input, error?: PicloudError): void => {
    live?.close();
    dialing?.close();
    live = dialing = undefined;
    clearTimeout(timer);
    clearTimeout(renewal);
    attempt = 0;
    enter(input, error && { error });
  };

  const redial = (): void => {
    enter("retry");
    dial();
  };

  const dial = (): void => {
    dialing?.close();
    clearTimeout(timer);
    const asked = owner.wants();
    const { topics, latest, cursor } = asked;
    const query = new URLSearchParams();
    for (const topic of topics) query.append("topic", topic);
    for (const topic of latest) query.append("latest", topic);
    if (lossless) query.set("lossless", "1");
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (cursor) headers["Last-Event-ID"] = cursor;
    let token: string | undefined;
    let openedAt: number;
    let renewing = false; // the stream has ended for want of a right, and another token is on its way

    const open = async (signal: AbortSignal): Promise<Response> => {
      let res: Response;
      [res, token] = await send(http, path + "?" + query, { headers, signal, cache: "no-store" });
      return res;
    };

    const onFrames = (frames: Frame[]): void => {
      if (stream === dialing) {
        const [{ event, data, retry: told }] = frames as [Frame];
        if (event !== "hello") throw new StreamError("stream", "this is no stream of a node");
        if (owner.wants().topics.join() !== topics.join()) return dial(); // they have changed meanwhile
        const hello = JSON.parse(data!);
        retry = told ?? retry;
        if (hello.resume) {
          live?.close();
          live = stream;
          dialing = undefined;
          openedAt = Date.now();
          stream.expect((hello.heartbeat_sec || 30) * 1000 * missedHeartbeats);
          clearTimeout(renewal);
          const ms = renewIn(token);
          if (ms) renewal = setTimeout(() => auth.renew(token, "soon")?.then(() => live === stream && dial(), () => {}), ms);
          enter("hello");
        }
      }
      if (stream !== live && stream !== dialing) return; // the owner has closed it
      owner.frames(frames, asked);
      for (const { event, data } of frames) {
        if (event !== "expired") continue;
        const { reason } = JSON.parse(data!);
        const detail = "the right to read has ended: " + reason;
        renewing = reason !== "topic";
        if (renewing && !auth.renew(token, reason === "token" ? "expired" : "refused")) throw new AuthError(event, detail, true);
        throw new StreamError("stream", detail);
      }
    };

    const onEnd = (error: PicloudError): void => {
      if (stream === live) {
        live = undefined;
        clearTimeout(renewal);
        if (Date.now() - openedAt >= settled) attempt = 0;
        if (!error.fatal && (dialing || renewing)) {
          enter("redial", { error });
          if (!dialing) dial();
          return;
        }
      } else dialing = undefined;
      if (error.fatal) {
        const { topic } = error as StatusError;
        if (topic !== undefined && topics.length > 1) {
          owner.refuse([topic], error);
          dial(); // for the others
        } else if (live) owner.refuse(topics.filter((topic) => !live!.topics.includes(topic)), error);
        else stop("fatal", error);
      } else if (!dialing) {
        const ms = delay(attempt++, retry, error.retryAfter);
        clearTimeout(timer);
        timer = setTimeout(redial, ms);
        if (!live) enter("lost", { error, retryAt: Date.now() + ms });
      }
    };

    const stream: Dial = (dialing = { topics, ...openStream(open, onFrames, onEnd) });
  };

  return {
    update(again) {
      const topics = owner.wants().topics;
      const stream = dialing ?? live;
      if (!topics.length) stop("unsubscribe");
      else if (enter("subscribe") || (stream && (again || topics.join() !== stream.topics.join()))) dial();
    },
    wake() {
      live?.check(1 / missedHeartbeats);
      if (name === "waiting") redial();
    },
    input(input) {
      if (input !== "resume") stop(input);
      else if (enter(input)) dial();
    },
  };
}

/** A stream, and what it carries. */
interface Dial extends Stream {
  readonly topics: readonly string[];
}
