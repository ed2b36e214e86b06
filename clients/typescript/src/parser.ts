import { StreamError } from "./errors.js";

/** A block of a stream: what stands between two blank lines. Fields that did not come are absent. */
export interface Frame {
  /** The name of the event; absent for events of topics. */
  event?: string;
  /** The lines of data, joined by LF. */
  data?: string;
  /** The id that the block itself carries. A block may carry nothing else. */
  id?: string;
  /** Milliseconds to wait before coming back. */
  retry?: number;
}

/** What one block may hold, in UTF-16 units: many times the largest event of a node. */
export const maxBlock = 4 << 20;

/**
 * createParser returns a function that takes a stream of Server-Sent Events (WHATWG) in chunks of any size and calls
 * onFrame for each block that has ended. Memory is bounded by maxBlock, beyond which it throws a StreamError; time is
 * linear in what comes, however it is cut.
 *
 * It differs from EventSource where a client has to know more: a block without data is told, too, as an id alone moves the
 * cursor; and an id is that of its block, where EventSource repeats the last one.
 */
export function createParser(onFrame: (frame: Frame) => void): (chunk: Uint8Array) => void {
  const decoder = new TextDecoder(); // drops a byte order mark, and keeps the bytes of a character that is not whole yet
  let line = ""; // begun in chunks before
  let frame: Frame = {};
  let told = false; // whether the block has anything to tell
  let size = 0; // of the block so far
  let skipLF = false; // the LF of a CRLF whose CR ended the line

  const endLine = (text: string): void => {
    if (!text) {
      if (told) onFrame(frame);
      frame = {};
      told = false;
      size = 0;
      return;
    }
    const colon = text.indexOf(":");
    const name = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + (text[colon + 1] === " " ? 2 : 1));
    if (name === "event") {
      frame.event = value;
      return;
    }
    if (name === "data") frame.data = frame.data === undefined ? value : frame.data + "\n" + value;
    else if (name === "id" && !value.includes("\0")) frame.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) frame.retry = +value;
    else return;
    told = true;
  };

  return (chunk) => {
    const text = decoder.decode(chunk, { stream: true });
    let at = 0;
    let cr = text.indexOf("\r");
    if (text && skipLF) {
      if (text[0] === "\n") at = 1;
      skipLF = false;
    }
    for (;;) {
      if (cr >= 0 && cr < at) cr = text.indexOf("\r", at);
      let end = text.indexOf("\n", at);
      if (cr >= 0 && (end < 0 || cr < end)) end = cr;
      size += (end < 0 ? text.length : end) - at;
      if (size > maxBlock) throw new StreamError("a block of the stream is larger than 4 MiB");
      if (end < 0) {
        line += text.slice(at);
        return;
      }
      const whole = line + text.slice(at, end);
      line = "";
      at = end + 1;
      if (end === cr) {
        if (text[at] === "\n") at++;
        else skipLF = at === text.length;
      }
      endLine(whole);
    }
  };
}
