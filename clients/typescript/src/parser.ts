import { StreamError } from "./errors.js";

/** A block of a stream: what stands between two blank lines. Fields that did not come are undefined. */
export interface Frame {
  /** The name of the event; absent for events of topics. */
  event?: string | undefined;
  /** The lines of data, joined by LF. */
  data?: string | undefined;
  /** The id that the block itself carries. A block may carry nothing else. */
  id?: string | undefined;
  /** Milliseconds to wait before coming back. */
  retry?: number | undefined;
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
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let begun = false; // a byte order mark counts at the beginning alone
  let line = ""; // begun in chunks before
  let event: string | undefined;
  let data: string | undefined;
  let id: string | undefined;
  let retry: number | undefined;
  let size = 0; // of the block so far
  let skipLF = false; // the LF of a CRLF whose CR ended the line

  const endLine = (text: string, from: number, to: number): void => {
    let value: string | undefined;
    if (from === to) {
      if (data !== undefined || id !== undefined || retry !== undefined) onFrame({ event, data, id, retry });
      event = data = id = retry = undefined;
      size = 0;
    } else if ((value = valueOf("data", text, from, to)) !== undefined) data = data === undefined ? value : data + "\n" + value;
    else if ((value = valueOf("id", text, from, to)) !== undefined) id = value.includes("\0") ? id : value;
    else if ((value = valueOf("event", text, from, to)) !== undefined) event = value;
    else if (/^\d+$/.test((value = valueOf("retry", text, from, to)!))) retry = +value;
  };

  return (chunk) => {
    if (!chunk.length) return;
    // A chunk that ends in ASCII has no character that is not whole: Node.js decodes eight times as fast what is no part of a stream.
    const text = decoder.decode(chunk, { stream: chunk[chunk.length - 1]! > 127 });
    let at = 0;
    let cr = text.indexOf("\r");
    if (text) {
      if (begun ? skipLF && text[0] === "\n" : text[0] === "\uFEFF") at = 1;
      begun = true;
      skipLF = false;
    }
    for (;;) {
      let end = text.indexOf("\n", at);
      if (cr >= 0) {
        if (cr < at) cr = text.indexOf("\r", at);
        if (cr >= 0 && (end < 0 || cr < end)) end = cr;
      }
      const to = end < 0 ? text.length : end;
      if ((size += to - at) > maxBlock) throw new StreamError("stream", "a block of the stream is larger than 4 MiB");
      if (line || end < 0) line += text.slice(at, to);
      if (end < 0) return;
      if (line) endLine(line, 0, line.length);
      else endLine(text, at, end);
      line = "";
      at = end + 1;
      if (end === cr) {
        if (text[at] === "\n") at++;
        else skipLF = at === text.length;
      }
    }
  };
}

/** valueOf returns the value of a line, which is a part of text, if it is a field of that name. */
function valueOf(name: string, text: string, from: number, to: number): string | undefined {
  const end = from + name.length;
  if (text.charCodeAt(from) !== name.charCodeAt(0) || !text.startsWith(name, from) || (end < to && text[end] !== ":")) return undefined;
  const start = text[end + 1] === " " ? end + 2 : end + 1;
  return start < to ? text.slice(start, to) : "";
}
