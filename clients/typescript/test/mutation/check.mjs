// Compares what a run of Stryker has left alive with survivors.json, which says of each mutant that survives why it does: node check.mjs. It fails
// when one survives that is not there, or one is there that does not.
import { readFileSync } from "node:fs";
import { join } from "node:path";

const read = (name) => JSON.parse(readFileSync(join(import.meta.dirname, name), "utf8"));

/** codeOf returns the lines of a mutant as they are, after the line before them, and as the mutant has them. */
function codeOf(source, { location: { start, end }, replacement }) {
  const lines = source.split("\n");
  const [before, first, ...more] = lines.slice(start.line - 2, end.line);
  const rest = lines[end.line - 1].slice(end.column - 1);
  const trim = (line) => line.trim();
  const mutant = first.slice(0, start.column - 1) + replacement + rest;
  return { before: trim(before), code: [first, ...more].map(trim).join(" "), mutant: mutant.split("\n").map(trim).join(" ") };
}

const keyOf = ({ file, before, code, mutant }) => [file, before, code, mutant].join("\n  ");

const explained = new Set(read("survivors.json").map(keyOf));
const survivors = new Map();
const late = new Set(); // a mutant that costs time alone may take too much of it
for (const [file, { source, mutants }] of Object.entries(read("report/mutation.json").files)) {
  const count = {};
  for (const mutant of mutants) {
    count[mutant.status] = (count[mutant.status] ?? 0) + 1;
    if (mutant.status === "Timeout") late.add(keyOf({ file, ...codeOf(source, mutant) }));
    if (mutant.status !== "Survived" && mutant.status !== "NoCoverage") continue;
    const one = { file, ...codeOf(source, mutant) };
    survivors.set(keyOf(one), one);
  }
  console.log(file.padEnd(20), Object.entries(count).map(([status, n]) => `${n} ${status}`).sort().join(", "));
}

const alive = [...survivors.keys()].filter((key) => !explained.has(key));
const dead = [...explained].filter((key) => !survivors.has(key) && !late.has(key));
for (const key of alive) console.error(`survives, and survivors.json does not say why:\n${JSON.stringify(survivors.get(key), null, 2)}`);
for (const key of dead) console.error(`is in survivors.json and does not survive:\n${key}`);
console.log(`${survivors.size} survive, ${survivors.size - alive.length} of them are explained`);
if (alive.length || dead.length) process.exitCode = 1;
