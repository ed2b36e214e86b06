import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type Input, next, type StateName } from "../src/machine.js";

/** The table of README.md: rows are states, columns are inputs, an empty cell changes nothing. */
function documented(): Map<string, string> {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const rows = readme
    .slice(readme.indexOf("<!-- states -->"), readme.indexOf("<!-- end of states -->"))
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim().replace(/`/g, "")));
  const [head, , ...body] = rows;
  const cells = new Map<string, string>();
  for (const [state, ...to] of body) to.forEach((name, i) => cells.set(state + " " + head![i + 1], name));
  return cells;
}

// CL-3: the state machine is the documented one, each transition and each that there is not.
test("every state and input leads where README.md says", () => {
  const cells = documented();
  expect(cells.size).toBe(7 * 10);
  for (const [cell, to] of cells) {
    const [state, input] = cell.split(" ");
    expect([cell, next(state as StateName, input as Input) ?? ""]).toEqual([cell, to]);
  }
});
