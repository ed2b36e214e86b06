// Makes types of the schemas that the client uses, from the OpenAPI document of a node:
// node scripts/api.mjs < openapi.json > src/api.ts
const used = ["Draft", "Event", "History", "NewToken", "Problem", "Published", "Token"];

/** typesOf returns src/api.ts for a document. */
export function typesOf(document) {
  const { schemas } = document.components;
  const typeOf = (schema) => {
    if (schema.$ref) return schema.$ref.split("/").pop();
    const kinds = [schema.type ?? "unknown"].flat();
    const name = { string: "string", integer: "number", number: "number", boolean: "boolean", null: "null", unknown: "unknown" };
    return kinds.map((kind) => (kind === "array" ? typeOf(schema.items) + "[]" : name[kind])).join(" | ");
  };
  const interfaces = used.map((name) => {
    const { properties, required } = schemas[name];
    const fields = Object.keys(properties)
      .sort()
      .map((key) => `  ${key}${required.includes(key) ? "" : "?"}: ${typeOf(properties[key])};\n`);
    return `export interface ${name} {\n${fields.join("")}}\n`;
  });
  return "// Made by scripts/api.mjs from the OpenAPI document of a node. Do not edit.\n\n" + interfaces.join("\n");
}

if (process.argv[1] === import.meta.filename) {
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  process.stdout.write(typesOf(JSON.parse(text)));
}
