// Writes API.md, the reference of all entries, from the declarations in dist and their doc comments: node scripts/reference.mjs > API.md
import { readFileSync } from "node:fs";
import { join } from "node:path";

const dist = join(import.meta.dirname, "../dist");
const read = (file) => readFileSync(join(dist, file), "utf8");

/** textOf returns the text of a doc comment as one paragraph a line. */
const textOf = (comment) =>
  comment
    .replace(/^\/\*\*|\*\/$/g, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\*? ?/, "").trim())
    .join("\n")
    .trim();

/** declarationsOf returns what a file of declarations exports: by name, its doc comment and its text. */
function declarationsOf(file) {
  const found = new Map();
  const lines = read(file).split("\n");
  let comment = "";
  for (let i = 0; i < lines.length; i++) {
    const from = i;
    if (lines[i].startsWith("/**")) {
      while (!lines[i].endsWith("*/")) i++;
      comment = textOf(lines.slice(from, i + 1).join("\n"));
      continue;
    }
    const name = /^export (?:declare )?(?:abstract )?(?:function|interface|class|type|const) (\w+)/.exec(lines[i])?.[1];
    const depth = () => lines.slice(from, i + 1).join("").replace(/=>/g, "").replace(/[^{}()<>]/g, "").split("").reduce((n, c) => n + ("{(<".includes(c) ? 1 : -1), 0);
    if (name) {
      while (!/[;}]$/.test(lines[i]) || depth() > 0) i++;
      const text = lines.slice(from, i + 1).join("\n").replace(/^export (declare )?/, "").replace(/^ *private .*\n/gm, "").replace(/^( {4})+/gm, (indent) => indent.slice(indent.length / 2));
      found.set(name, { comment, text });
    }
    comment = "";
  }
  return found;
}

/** exportsOf returns what a file exports: its own declarations, and those of the files that it names. */
function exportsOf(file) {
  const all = new Map(declarationsOf(file));
  for (const [, names, from] of read(file).matchAll(/^export (?:type )?\{([^}]*)\} from "\.\/([^"]+)\.js";/gm)) {
    const declared = exportsOf(from + ".d.ts"); // which may have it from another file
    for (const name of names.split(",").map((each) => each.replace(/\btype\b/, "").trim()).filter(Boolean)) {
      if (!declared.has(name)) throw new Error(`${file}: there is no declaration of ${name} in ${from}.d.ts`);
      all.set(name, declared.get(name));
    }
  }
  return all;
}

/** reference returns API.md. */
export function reference() {
  const { name, exports } = JSON.parse(readFileSync(join(dist, "../package.json"), "utf8"));
  const parts = ["# Reference\n\nMade by `npm run reference` from the doc comments. [README.md](README.md) shows how things are used.\n"];
  const shown = new Map(); // in which entry
  for (const [entry, target] of Object.entries(exports)) {
    if (!target.import) continue;
    const file = target.import.types.replace("./dist/", "");
    const title = name + entry.slice(1);
    const [about] = /^\/\*\*[^]*?@packageDocumentation\s*\*\//m.exec(read("../src/" + file.replace(".d.ts", ".ts"))) ?? [""]; // a declaration file may lack it
    parts.push(`## ${title}\n\n${textOf(about.replace("@packageDocumentation", ""))}\n`);
    for (const [each, { comment, text }] of [...exportsOf(file)].sort(([a], [b]) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1))) {
      const before = shown.get(each + text);
      if (before) parts.push(`### ${each}\n\nAs in \`${before}\`.\n`);
      else parts.push(`### ${each}\n\n${comment ? comment + "\n\n" : ""}\`\`\`ts\n${text}\n\`\`\`\n`);
      shown.set(each + text, before ?? title);
    }
  }
  return parts.join("\n");
}

if (process.argv[1] === import.meta.filename) process.stdout.write(reference());
