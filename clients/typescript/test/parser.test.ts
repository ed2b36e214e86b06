import fc from "fast-check";
import { expect, test } from "vitest";
import { StreamError } from "../src/errors.js";
import { createParser, type Frame, maxBlock } from "../src/parser.js";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** parse feeds chunks and returns the blocks. */
function parse(...chunks: (string | Uint8Array)[]): Frame[] {
  return parseAll(chunks);
}

/** parseAll does so with any number of chunks. */
function parseAll(chunks: (string | Uint8Array)[]): Frame[] {
  const frames: Frame[] = [];
  const feed = createParser((frame) => frames.push(frame));
  for (const chunk of chunks) feed(typeof chunk === "string" ? encode(chunk) : chunk);
  return frames;
}

/** slow parses a whole stream by the words of the standard, without a thought for speed. */
function slow(bytes: Uint8Array): Frame[] {
  const lines = new TextDecoder().decode(bytes).split(/\r\n|\n|\r/);
  lines.pop(); // has no end
  const frames: Frame[] = [];
  let block: [string, string][] = [];
  for (const line of lines) {
    if (line !== "") {
      const [, name, value] = /^([^:]*)(?:: ?)?([^]*)$/.exec(line)!;
      block.push([name!, value!]);
      continue;
    }
    const frame: Frame = {};
    const values = (name: string): string[] => block.filter(([n]) => n === name).map(([, value]) => value);
    const event = values("event").pop();
    const id = values("id").filter((value) => !value.includes("\0")).pop();
    const retry = values("retry").filter((value) => /^[0-9]+$/.test(value)).pop();
    if (event !== undefined) frame.event = event;
    if (values("data").length) frame.data = values("data").join("\n");
    if (id !== undefined) frame.id = id;
    if (retry !== undefined) frame.retry = Number(retry);
    if (frame.data !== undefined || id !== undefined || retry !== undefined) frames.push(frame);
    block = [];
  }
  return frames;
}

const fields = fc.constantFrom("data", "event", "id", "retry", "", "dat", "datas", "Data", " data");
const values = fc.oneof(
  fc.constantFrom("", " ", "7", "12x", "a:b", ":", "\0", "é", "🙂", "\uFEFF", "{}"),
  fc.string({ unit: "binary", maxLength: 12 }).map((text) => text.replace(/[\r\n]/g, "")),
);
const line = fc.oneof(
  fc.tuple(fields, fc.constantFrom(":", ": ", ":  ", ""), values).map((parts) => parts.join("")),
  fc.constant(""),
);
const stream = fc
  .tuple(fc.constantFrom("", "\uFEFF", "\uFEFF\uFEFF"), fc.array(fc.tuple(line, fc.constantFrom("\n", "\r", "\r\n")), { maxLength: 24 }), values)
  .map(([bom, lines, tail]) => encode(bom + lines.flat().join("") + tail));

/** cuts cuts bytes where the numbers say. */
function cuts(bytes: Uint8Array, at: number[]): Uint8Array[] {
  const places = [0, ...at.map((n) => n % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, i) => bytes.slice(places[i], end));
}

// CL-2: right on every chunking, line end, byte order mark, split UTF-8, multi-line data, comment, empty id, NUL in an id.
test("any stream in any chunks is parsed as the slow parser does it", () => {
  fc.assert(
    fc.property(stream, fc.array(fc.nat()), (bytes, at) => {
      expect(parseAll(cuts(bytes, at))).toEqual(slow(bytes));
    }),
    { numRuns: 5000 },
  );
});

test("any stream byte by byte", () => {
  fc.assert(
    fc.property(stream, (bytes) => {
      expect(parseAll(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(slow(bytes));
    }),
    { numRuns: 1000 },
  );
});

test.each<[string, string[], Frame[]]>([
  ["LF", ["id: 1\ndata: a\n\n"], [{ id: "1", data: "a" }]],
  ["CR alone ends an event at once", ["data: a\r\r"], [{ data: "a" }]],
  ["CRLF cut between CR and LF", ["data: a\r", "\n\r", "\ndata: b\r\n\r\n"], [{ data: "a" }, { data: "b" }]],
  ["CR at the end of a chunk, and no LF after it", ["data: a\r", "data: b\r", "\r"], [{ data: "a\nb" }]],
  ["a byte order mark, once", ["\uFEFFdata: a\n\n\uFEFFdata: b\n\n"], [{ data: "a" }]],
  ["data of several lines", ["data: a\ndata\ndata: b\n\n"], [{ data: "a\n\nb" }]],
  ["one blank after the colon", ["data:  a\n\ndata:b\n\n"], [{ data: " a" }, { data: "b" }]],
  ["empty data is data", ["data\n\ndata:\n\n"], [{ data: "" }, { data: "" }]],
  ["comments", [": heartbeat\n\n:\n:data: a\n\n"], []],
  ["an empty id", ["id\ndata: a\n\n"], [{ id: "", data: "a" }]],
  ["NUL in an id", ["id: 1\nid: 2\0\ndata: a\n\n"], [{ id: "1", data: "a" }]],
  ["an id alone", ["id: 7\n\n"], [{ id: "7" }]],
  ["retry", ["retry: 1500\nevent: hello\ndata: {}\n\nretry: 1x\n\n"], [{ retry: 1500, event: "hello", data: "{}" }]],
  ["a name without data", ["event: hello\n\ndata: a\n\n"], [{ data: "a" }]],
  ["no end", ["data: a\n\ndata: b\n"], [{ data: "a" }]],
])("%s", (_, chunks, want) => {
  expect(parse(...chunks)).toEqual(want);
});

test("a character cut in the middle", () => {
  const bytes = encode("data: 🙂é\n\n");
  for (let cut = 0; cut <= bytes.length; cut++) expect(parse(bytes.slice(0, cut), bytes.slice(cut))).toEqual([{ data: "🙂é" }]);
});

test("a line of 1 MiB, in one chunk and in small ones", () => {
  const text = "x".repeat(1 << 20);
  const bytes = encode("id: 1\ndata: " + text + "\n\n");
  expect(parse(bytes)).toEqual([{ id: "1", data: text }]);
  const chunks = Array.from({ length: Math.ceil(bytes.length / 7) }, (_, i) => bytes.slice(i * 7, i * 7 + 7));
  expect(parseAll(chunks)).toEqual([{ id: "1", data: text }]);
});

test("a block of more than 4 MiB ends the stream, whether it has one line or many", () => {
  const line = "data: " + "x".repeat(1018) + "\n"; // 1024 units without the LF
  expect(parse(line.repeat(maxBlock / 1024) + "\n")).toHaveLength(1);
  expect(() => parse(line.repeat(maxBlock / 1024) + "d")).toThrow(StreamError);
  expect(() => parse("data: " + "x".repeat(maxBlock))).toThrow(StreamError);
  const half = "data: " + "x".repeat(maxBlock / 2) + "\n\n";
  expect(parse(half + half + half)).toHaveLength(3); // the limit is for each
});
