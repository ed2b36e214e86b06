import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runInNewContext } from "node:vm";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { expect, onTestFinished, test } from "vitest";
// @ts-expect-error -- a script without types
import { reference } from "../scripts/reference.mjs";

const root = join(import.meta.dirname, "..");
const pkg = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const entries = Object.keys(pkg.exports).filter((entry) => pkg.exports[entry].import);

/** pack packs the package and returns what npm says of it, and the file. */
function pack(): { files: string[]; tarball: string } {
  const dir = mkdtempSync(join(tmpdir(), "picloud-pack-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const [packed] = JSON.parse(execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", dir], { cwd: root, encoding: "utf8" }));
  return { files: packed.files.map((file: { path: string }) => file.path), tarball: join(dir, packed.filename) };
}

// CL-1
test("the package holds these files, has no dependencies, and no fault that publint or are-the-types-wrong know", async () => {
  const { files, tarball } = pack();
  const kinds = [".js", ".js.map", ".cjs", ".cjs.map", ".d.ts", ".d.cts"];
  const modules = entries.map((entry) => /([^/]+)\.js$/.exec(pkg.exports[entry].import.default)![1]!);
  const code = modules.flatMap((name) => kinds.map((kind) => `dist/${name}${kind}`));
  const shared = files.filter((file) => /^dist\/chunk-\w+\.js(\.map)?$/.test(file));
  expect(shared.length).toBeGreaterThan(0);
  expect(files.filter((file) => !/\.d\.c?ts$/.test(file)).sort()).toEqual(
    [
      ...["LICENSE", "README.md", "package.json", "dist/client.min.js", "dist/streaming.js", "dist/streaming.js.map"],
      ...shared,
      ...code.filter((file) => !/\.d\.c?ts$/.test(file)),
    ].sort(),
  );
  expect(files).toEqual(expect.arrayContaining(code));
  expect(pkg.dependencies).toBeUndefined();
  const { messages } = await publint({ pkgDir: root, strict: true });
  expect(messages).toEqual([]);
  // The resolution of Node.js 10 knows no subpaths; the client needs Node.js 18.
  const found = await checkPackage(createPackageFromTarballData(readFileSync(tarball)));
  expect(found).toHaveProperty("problems");
  const problems = "problems" in found ? found.problems : [];
  expect(problems.filter((problem) => !("resolutionKind" in problem && problem.resolutionKind === "node10"))).toEqual([]);
});

// CL-6: importing touches nothing.
test.each(entries.filter((entry) => !["./react", "./svelte/reactivity"].includes(entry)))("%s can be imported where there is nothing but the language", (entry) => {
  const file = pkg.exports[entry].require.default;
  const module = { exports: {} as Record<string, unknown> };
  runInNewContext(readFileSync(join(root, file), "utf8"), { module, exports: module.exports });
  expect(Object.keys(module.exports).length).toBeGreaterThan(0);
});

test("the types resolve for ES modules and CommonJS", () => {
  const dir = mkdtempSync(join(tmpdir(), "picloud-types-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const use = entries.map((entry, i) => `import * as m${i} from "@picloud/client${entry.slice(1)}"; export type M${i} = typeof m${i};`).join("\n");
  const typed = 'import { createClient } from "@picloud/client"; createClient({ app: "a" }).topic<number>("t").last?.data.toFixed();';
  writeFileSync(join(dir, "a.mts"), use + "\n" + typed);
  writeFileSync(join(dir, "b.cts"), use);
  mkdirSync(join(dir, "node_modules/@picloud"), { recursive: true });
  symlinkSync(root, join(dir, "node_modules/@picloud/client"));
  const page = ["--lib", "es2022,dom,dom.iterable", "--types", ""];
  const server = ["--lib", "es2022", "--types", "node", "--typeRoots", join(root, "node_modules/@types"), "--skipLibCheck", "false"];
  symlinkSync(join(root, "node_modules/react"), join(dir, "node_modules/react"));
  const node = ["--module", "nodenext"];
  const bundler = ["--module", "esnext", "--moduleResolution", "bundler"];
  for (const options of [[...node, ...page], [...bundler, ...page], [...node, ...server]]) {
    const args = ["--noEmit", "--strict", ...options, join(dir, "a.mts")];
    if (options.includes("nodenext")) args.push(join(dir, "b.cts"));
    execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), ...args], { cwd: dir, stdio: "pipe", encoding: "utf8" });
  }
});

test("the daemon serves this build", () => {
  const [served, built] = ["../../httpapi/assets/client.js", "dist/client.min.js"].map((file) => readFileSync(join(root, file), "utf8"));
  expect(served === built, "run: npm run asset").toBe(true);
});

test("the reference tells all that the entries export, as it is now", async () => {
  const written = readFileSync(join(root, "API.md"), "utf8");
  expect(written === reference(), "run: npm run reference").toBe(true);
  for (const entry of entries) {
    const [, part] = written.split(`\n## @picloud/client${entry.slice(1)}\n`);
    const names = Object.keys(await import(join(root, pkg.exports[entry].import.default)));
    for (const name of names) expect(part!.split("\n## ")[0], entry).toContain(`\n### ${name}\n`);
  }
});

test.each(["", "test/mutation", "test/runtimes"])("the lock file of '%s' holds no address", (folder) => {
  expect(readFileSync(join(root, folder, "package-lock.json"), "utf8")).not.toMatch(/"resolved": "(?!test\/)|https?:\/\/registry/);
});
