// Measures the parser beside eventsource-parser, in turns within one run: npm run bench [-- ROUNDS]. What counts is the ratio of the medians.
import { writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { createParser as createOther } from "eventsource-parser";

const rounds = Number(process.argv[2] ?? 40);
const dir = mkdtempSync(join(tmpdir(), "picloud-bench-"));
const { outputFiles } = await build({ entryPoints: ["src/parser.ts"], bundle: true, format: "esm", target: "es2020", minify: true, write: false });
const file = join(dir, "parser.mjs");
writeFileSync(file, outputFiles[0].contents);
const { createParser } = await import(pathToFileURL(file));
rmSync(dir, { recursive: true });

const encode = (text) => new TextEncoder().encode(text);
const cut = (bytes, size) => Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.slice(i * size, (i + 1) * size));
const rest = '"published_at":"2026-11-23T20:15:00.123456Z","source":"key:ab12cd34ef"}';
const event = (n, end) => ["id: 00c3a91e42." + n, `data: {"topic":"door","data":{"open":true,"n":${n}},${rest}`, "", ""].join(end);
const many = (end) => encode(Array.from({ length: 8000 }, (_, i) => event(i, end)).join(""));
const long = (size) => encode("id: 1\ndata: " + "x".repeat(size - 20) + "\n\n");

let seen = 0;
const parsers = {
  ours(chunks) {
    const feed = createParser((frame) => (seen += frame.data.length));
    for (const chunk of chunks) feed(chunk);
  },
  other(chunks) {
    const decoder = new TextDecoder();
    const { feed } = createOther({ onEvent: (e) => (seen += e.data.length) });
    for (const chunk of chunks) feed(decoder.decode(chunk, { stream: true }));
  },
};
const streams = [
  ["events, LF, 16 KiB a chunk", cut(many("\n"), 16 << 10)],
  ["events, CRLF, 16 KiB a chunk", cut(many("\r\n"), 16 << 10)],
  ["events, LF, one a chunk", Array.from({ length: 8000 }, (_, i) => encode(event(i, "\n")))],
  ["events, LF, 100 bytes a chunk", cut(many("\n"), 100)],
  ["a line of 1 MiB, 16 KiB a chunk", cut(long(1 << 20), 16 << 10)],
  ["a line of 4 MiB, 16 KiB a chunk", cut(long(4 << 20), 16 << 10)],
];

const median = (all) => all.sort((a, b) => a - b)[all.length >> 1];
console.log("stream".padEnd(34) + "MB/s, ours".padStart(12) + "other".padStart(8) + "ratio".padStart(8));
for (const [name, chunks] of streams) {
  const size = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const times = { ours: [], other: [] };
  for (let round = -5; round < rounds; round++) {
    const told = [];
    for (const who of round % 2 ? ["ours", "other"] : ["other", "ours"]) {
      seen = 0;
      const began = performance.now();
      parsers[who](chunks);
      if (round >= 0) times[who].push(performance.now() - began);
      told.push(seen);
    }
    if (told[0] !== told[1]) throw new Error(name + ": the parsers do not agree");
  }
  const speed = (who) => size / 1000 / median(times[who]);
  const [ours, other] = [speed("ours"), speed("other")];
  console.log(name.padEnd(34) + ours.toFixed(0).padStart(12) + other.toFixed(0).padStart(8) + (ours / other).toFixed(2).padStart(8));
}
