// Fails when the root, minified as an app's bundler does it, has more bytes after gzip than it may.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const limit = 8000;
const size = gzipSync(readFileSync(new URL("../dist/client.min.js", import.meta.url)), { level: 9 }).length;
console.log(`root: ${size} bytes after gzip, of ${limit}`);
if (size > limit) process.exit(1);
