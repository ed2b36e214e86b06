// Fails when the client, minified as an app's bundler does it, has more bytes after gzip than it may: the root, which an app has from its start,
// and all of it, as a node serves it in one file.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const onDemand = {
  name: "parts that are loaded on demand",
  setup: ({ onResolve }) => onResolve({ filter: /./ }, ({ kind, path }) => (kind === "dynamic-import" ? { path, external: true } : undefined)),
};
const root = fileURLToPath(new URL("../dist/index.js", import.meta.url));
const { outputFiles } = await build({ entryPoints: [root], bundle: true, minify: true, format: "esm", write: false, plugins: [onDemand] });

const check = (name, bytes, limit) => {
  const size = gzipSync(bytes, { level: 9 }).length;
  console.log(`${name}: ${size} bytes after gzip, of ${limit}`);
  if (size > limit) process.exitCode = 1;
};
check("root", outputFiles[0].contents, 4000);
check("all", readFileSync(new URL("../dist/client.min.js", import.meta.url)), 9500);
