// Answers files of this app below site/ as pages with what belongs to them. In a browser
// such a page has an origin of its own, so its modules are read across origins.
import { files, response } from "picloud";

const types = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8", svg: "image/svg+xml" };

export default async function ({ params }) {
  const path = params.path.endsWith("/") ? params.path + "index.html" : params.path;
  const body = await files.text("site/" + path);
  if (body === undefined) return response.text("There is no such page.", { status: 404 });
  const type = types[path.slice(path.lastIndexOf(".") + 1)] ?? "text/plain; charset=utf-8";
  return response.text(body, { headers: { "content-type": type, "cache-control": "no-cache", "access-control-allow-origin": "*" } });
}
