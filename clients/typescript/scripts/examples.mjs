// Builds the examples of ../../examples/web that have a build step, as whoever copies them does it, with what is installed
// here in the place of `npm install`: node scripts/examples.mjs OUT. OUT gets a folder of pages for each.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

const root = join(import.meta.dirname, "..");
const out = resolve(process.argv[2]);
const installed = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).devDependencies;
const stage = mkdtempSync(join(tmpdir(), "picloud-web-"));
try {
  for (const name of ["react", "svelte"]) {
    const dir = join(stage, name);
    cpSync(join(root, "../../examples/web", name), dir, { recursive: true, filter: (file) => !/\/(node_modules|dist)$/.test(file) });
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(dir, "package.json"), "utf8"));
    for (const [dependency, version] of Object.entries({ ...dependencies, ...devDependencies })) {
      const own = dependency === "@picloud/client";
      if (!own && version !== installed[dependency]) throw new Error(`examples/web/${name} has ${dependency} ${version}, here is ${installed[dependency]}`);
      const link = join(dir, "node_modules", dependency);
      mkdirSync(dirname(link), { recursive: true });
      symlinkSync(own ? root : join(root, "node_modules", dependency), link);
    }
    const vite = join(root, "node_modules/vite/bin/vite.js");
    execFileSync(process.execPath, [vite, "build", "--logLevel", "warn", "--outDir", join(out, name), "--emptyOutDir"], { cwd: dir, stdio: "inherit" });
  }
} finally {
  rmSync(stage, { recursive: true });
}
