import { asError, NetworkError, type PicloudError, StreamError, TimeoutError } from "./errors.js";
import { refusalOf } from "./http.js";
import { createParser, type Frame } from "./parser.js";

/** A stream that is being opened or read. */
export interface Stream {
  /** What it carries. */
  readonly topics: readonly string[];
  /** expect sets how many milliseconds without a byte are the end of it; the check is made at once. */
  expect(silence: number): void;
  /** check ends the stream when nothing has come for so many milliseconds. */
  check(silence?: number): void;
  /** close ends the stream. Nothing is told after it. */
  close(): void;
}

/** How long the node may take until its first bytes, in milliseconds. */
const patience = 20_000;

/**
 * openStream sends a request for a stream and reads it. onFrames gets what each chunk has ended, at least one frame;
 * onEnd, once, why the stream has ended, unless that was by close. Both are called after openStream has returned.
 *
 * Whether the other side is still there is judged by the bytes that come, comments included, and by the clock of the wall: timers are
 * throttled in hidden tabs and stand still while a machine sleeps, so the first one to fire afterwards finds the silence.
 */
export function openStream(
  topics: readonly string[],
  send: (signal: AbortSignal) => Promise<Response>,
  onFrames: (frames: Frame[]) => void,
  onEnd: (error: PicloudError) => void,
): Stream {
  const abort = new AbortController();
  let closed = false;
  let limit = patience;
  let last = Date.now();
  let timer: ReturnType<typeof setTimeout>;

  const close = (): void => {
    closed = true;
    clearTimeout(timer);
    abort.abort();
  };
  const end = (error: PicloudError): void => {
    if (closed) return;
    close();
    onEnd(error);
  };
  const check = (silence = limit): void => {
    if (closed) return;
    clearTimeout(timer);
    const quiet = Math.abs(Date.now() - last); // the clock may have been set back
    if (quiet >= silence) end(new TimeoutError("the node has been silent for " + quiet + " ms"));
    else timer = setTimeout(() => check(), limit - quiet);
  };
  const read = async (): Promise<void> => {
    const res = await send(abort.signal);
    if (!res.ok) throw await refusalOf(res);
    if (res.status === 204) throw Object.assign(await refusalOf(res), { fatal: true });
    const reader = res.body?.getReader?.();
    if (!reader) throw new StreamError("this fetch does not stream: pass one that does as `fetch`", true);
    let frames: Frame[] = [];
    const feed = createParser((frame) => frames.push(frame));
    while (!closed) {
      const { done, value } = await reader.read();
      if (closed) return;
      if (done) throw new NetworkError("the stream has ended");
      last = Date.now();
      feed(value);
      if (frames.length) {
        const whole = frames;
        frames = [];
        onFrames(whole);
      }
    }
  };
  read().catch((thrown) => end(asError(thrown)));
  check();

  return {
    topics,
    expect(silence) {
      limit = silence;
      check();
    },
    check,
    close,
  };
}
