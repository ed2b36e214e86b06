import { longestTimer } from "./call.js";
import { asError, NetworkError, type PicloudError, StreamError, TimeoutError } from "./errors.js";
import { refusalOf } from "./http.js";
import { createParser, type Frame } from "./parser.js";

/** A stream that is being opened or read. */
export interface Stream {
  /** expect sets how many milliseconds without a byte are the end of it: it has begun. */
  expect(silence: number): void;
  /** check ends the stream when nothing has come for that long, or for a part of it. */
  check(part?: number): void;
  /** close ends the stream. Nothing is told after it. */
  close(): void;
}

/** notOfNode returns the error for a response that is not the stream of a node, such as a login page. */
export const notOfNode = (): StreamError => new StreamError("no-node", "this is no stream of a node: check the url");

/** How long it may take until a stream has begun, a token included, in milliseconds. */
export const beginTimeout = 20_000;

/**
 * openStream opens a stream by `open` and reads it. onFrames gets what each chunk has ended, at least one frame; what it throws ends the
 * stream. onEnd, once, gets why the stream has ended, unless that was by close. Both are called after openStream has returned.
 *
 * Whether the other side is still there is judged by the bytes that come, comments included, and by the clock of the wall: timers are
 * throttled in hidden tabs and stand still while a machine sleeps, so the first one to fire afterwards finds the silence.
 */
export function openStream(
  open: (signal: AbortSignal) => Promise<Response>,
  onFrames: (frames: Frame[]) => void,
  onEnd: (error: PicloudError) => void,
): Stream {
  const abort = new AbortController();
  const { signal } = abort;
  let limit = beginTimeout;
  let begun = false;
  let last = Date.now();
  let timer: ReturnType<typeof setTimeout>;

  const close = (): void => {
    clearTimeout(timer);
    abort.abort();
  };
  const end = (error: PicloudError): void => {
    if (signal.aborted) return;
    close();
    onEnd(error);
  };
  const check = (part = 1): void => {
    if (signal.aborted) return;
    clearTimeout(timer);
    const quiet = Math.abs(Date.now() - last); // the clock may have been set back
    if (quiet >= limit * part) end(new TimeoutError("timeout", (begun ? "the node has been silent for " : "no stream has begun in ") + quiet + " ms"));
    else timer = setTimeout(check, limit - quiet);
  };
  const read = async (): Promise<void> => {
    const res = await open(signal);
    if (res.status === 204) throw await refusalOf(res);
    const reader = res.body?.getReader?.();
    if (!reader) throw new StreamError("stream", "this fetch does not stream: pass one that does as `fetch`", true);
    if (!res.headers.get("Content-Type")?.startsWith("text/event-stream")) throw notOfNode();
    const frames: Frame[] = [];
    const feed = createParser((frame) => frames.push(frame));
    for (;;) {
      const { done, value } = await reader.read();
      if (signal.aborted) return;
      if (done) throw new NetworkError("network", "the stream has ended");
      if (begun) last = Date.now();
      feed(value);
      if (frames.length) onFrames(frames.splice(0));
    }
  };
  read().catch((thrown) => end(thrown instanceof SyntaxError ? notOfNode() : asError(thrown)));
  check();

  return {
    expect(silence) {
      begun = true;
      last = Date.now();
      limit = Math.min(silence, longestTimer);
      check();
    },
    check,
    close,
  };
}
