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

  const endLine = (text: string, from: number, to: number): void => {
    if (from === to) {
      if (told) onFrame(frame);
      frame = {};
      told = false;
      size = 0;
      return;
    }
    let value = fieldOf("data", text, from, to);
    if (value !== undefined) {
      frame.data = frame.data === undefined ? value : frame.data + "\n" + value;
      told = true;
    } else if ((value = fieldOf("id", text, from, to)) !== undefined) {
      if (value.includes("\0")) return;
      frame.id = value;
      told = true;
    } else if ((value = fieldOf("event", text, from, to)) !== undefined) {
      frame.event = value; // which alone tells nothing
    } else if (/^\d+$/.test((value = fieldOf("retry", text, from, to) ?? ""))) {
      frame.retry = +value;
      told = true;
    }
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
      if (line) {
        line += text.slice(at, end);
        endLine(line, 0, line.length);
        line = "";
      } else endLine(text, at, end);
      at = end + 1;
      if (end === cr) {
        if (text[at] === "\n") at++;
        else skipLF = at === text.length;
      }
    }
  };
}

/** fieldOf returns the value of a line, which is a part of text, if it is a field of that name. */
function fieldOf(name: string, text: string, from: number, to: number): string | undefined {
  const end = from + name.length;
  if (!text.startsWith(name, from) || (end < to && text.charCodeAt(end) !== 58)) return undefined;
  const start = text.charCodeAt(end + 1) === 32 ? end + 2 : end + 1;
  return start < to ? text.slice(start, to) : "";
}
