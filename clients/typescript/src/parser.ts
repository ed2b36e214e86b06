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

  const grow = (by: string): void => {
    if (size + by.length > maxBlock) throw new StreamError("stream", "a block of the stream is larger than 4 MiB");
  };

  const endLine = (text: string): void => {
    if (!text) {
      if (told) onFrame(frame);
      frame = {};
      told = false;
      size = 0;
      return;
    }
    grow(text);
    size += text.length;
    const colon = text.indexOf(":");
    const name = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(text[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") frame.data = frame.data === undefined ? value : frame.data + "\n" + value;
    else if (name === "id" && !value.includes("\0")) frame.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) frame.retry = +value;
    else {
      if (name === "event") frame.event = value; // which alone tells nothing
      return;
    }
    told = true;
  };

  return (chunk) => {
    let text = decoder.decode(chunk, { stream: true });
    if (!text) return;
    if (skipLF && text[0] === "\n") text = text.slice(1);
    skipLF = text.endsWith("\r");
    if (text.includes("\r")) text = text.replace(/\r\n?/g, "\n");
    const lines = text.split("\n");
    lines[0] = line + lines[0];
    line = lines.pop()!;
    lines.forEach(endLine);
    grow(line);
  };
}
