import { createParser as createOther } from "eventsource-parser";
import { bench, describe } from "vitest";
import { createParser } from "../src/parser.js";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** cut cuts bytes into chunks of a size. */
function cut(bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}

const rest = `"published_at":"2026-11-23T20:15:00.123456Z","source":"key:ab12cd34ef"}`;
const event = (n: number, end: string): string =>
  ["id: 00c3a91e42." + n, `data: {"topic":"door","data":{"open":true,"n":${n}},${rest}`, "", ""].join(end);
const many = (end: string): Uint8Array => encode(Array.from({ length: 8000 }, (_, i) => event(i, end)).join(""));
const long = (size: number): Uint8Array => encode("id: 1\ndata: " + "x".repeat(size - 20) + "\n\n");

const streams: [string, Uint8Array[]][] = [
  ["events of a node, LF, 16 KiB a chunk", cut(many("\n"), 16 << 10)],
  ["events of a node, CRLF, 16 KiB a chunk", cut(many("\r\n"), 16 << 10)],
  ["events of a node, LF, 100 bytes a chunk", cut(many("\n"), 100)],
  ["a line of 1 MiB, 16 KiB a chunk", cut(long(1 << 20), 16 << 10)],
  ["a line of 4 MiB, 16 KiB a chunk", cut(long(4 << 20), 16 << 10)],
];

for (const [name, chunks] of streams) {
  describe(`${name}: ${(chunks.reduce((sum, chunk) => sum + chunk.length, 0) / 1e6).toFixed(2)} MB`, () => {
    let seen = 0;
    bench("this parser", () => {
      const feed = createParser((frame) => (seen += frame.data?.length ?? 0));
      for (const chunk of chunks) feed(chunk);
    });
    bench("eventsource-parser", () => {
      const decoder = new TextDecoder();
      const { feed } = createOther({ onEvent: (e) => (seen += e.data.length) });
      for (const chunk of chunks) feed(decoder.decode(chunk, { stream: true }));
    });
  });
}
