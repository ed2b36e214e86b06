/**
 * Requests that a node and the fake server must answer alike, in order, beginning with a node that has no events.
 *
 * Paths are below `/v1/apps/default`. `#2` is the id of the second event that the table publishes, in requests and in answers.
 */

type Row = readonly [request: string, answer: string, body?: string, headers?: Record<string, string>];

const door = "POST /topics/door/events";
const batch = "POST /events";
const kib = (n: number, more = 0): string => JSON.stringify("x".repeat(n * 1024 + more - 2));
const drafts = (n: number, data = "1"): string => `[${Array(n).fill(`{"topic":"many","data":${data}}`)}]`;
const key = (text: string): Record<string, string> => ({ "Content-Type": "application/json", "Idempotency-Key": text });
const type = (text: string): Record<string, string> => ({ "Content-Type": text });
const stream = { Accept: "text/event-stream" };

const rows: Row[] = [
  // Publishing.
  [door, "201 #1 door local", "1"],
  [batch, "201 [#2 door local, #3 a/b local]", '[{"topic":"door","data":{"n":2}},{"topic":"a/b","data":null}]'],
  ["POST /topics/a%2Fb/events", "201 #4 a/b local", ' {"n" : 3} ', type("application/json; charset=utf-8")],

  // The same key, topics and data are published once.
  [door, "201 #5 door local", '{"k": 1}', key("k")],
  [door, "201 #5 door local", '{ "k":1 }', key("k")],
  [batch, "201 [#5 door local]", '[{"topic":"door","data":{"k":1}}]', key("k")],
  [door, "422 idempotency-key-reused", '{"k": 2}', key("k")],
  ["POST /topics/window/events", "422 idempotency-key-reused", '{"k": 1}', key("k")],
  [batch, "201 [#6 x local, #7 y local]", '[{"topic":"x","data":1},{"topic":"y","data":2}]', key("b")],
  [batch, "201 [#6 x local, #7 y local]", '[{"topic":"x","data":1},{"topic":"y","data":2}]', key("b")],
  [batch, "422 idempotency-key-reused", '[{"topic":"y","data":2},{"topic":"x","data":1}]', key("b")],
  [door, "400 idempotency-key-invalid", "1", key("")],
  [door, "400 idempotency-key-invalid", "1", key("a b")],
  [door, "400 idempotency-key-invalid", "1", key("k".repeat(256))],
  [door, "400 data-invalid", "{", key("later")],
  [door, "201 #8 door local", "8", key("later")], // a refused request does not use up its key

  // Bodies.
  [door, "400 data-invalid", ""],
  [door, "400 data-invalid", "{"],
  [door, "400 data-invalid", "1 2"],
  [door, "415 content-type", "1", type("text/plain")],
  [door, "415 content-type", "1", type("application/json;x")],
  [batch, "415 content-type", drafts(1), type("text/plain")],
  [door, "413 data-too-large", kib(256, 1)],
  [door, "413 body-too-large", kib(1537)],
  [batch, "400 body-invalid", ""],
  [batch, "400 body-invalid", "["],
  [batch, "400 body-invalid", "[] 1"],
  [batch, "400 body-invalid", '"x"'],
  [batch, "400 body-invalid", '{"topic":"door","data":1}'],
  [batch, "400 body-invalid", "[1]"],
  [batch, "400 body-invalid", "[[]]"],
  [batch, "400 body-invalid", '[{"topic":1,"data":1}]'],
  [batch, "400 body-invalid", '[{"topic":"door","data":1,"more":1}]'],
  [batch, "422 batch-invalid", "null"],
  [batch, "422 batch-invalid", "[]"],
  [batch, "422 batch-invalid", "[null]"],
  [batch, "422 batch-invalid", '[{"topic":"door"}]'],
  [batch, "422 batch-invalid", drafts(1001)],
  [batch, "422 topic-name-invalid", '[{"data":1}]'],
  [batch, "422 topic-name-invalid", '[{"topic":"door","data":1},{"topic":"a b","data":1}]'], // all or none: #9 is the next one
  [batch, "413 data-too-large", drafts(1, kib(256, 1))],
  [batch, "413 data-too-large", drafts(5, kib(250))],
  [batch, "413 body-too-large", drafts(8, kib(256))],
  ["POST /topics/big/events", "201 #9 big local", kib(256)],

  // Addresses.
  ["POST /topics/do%20or/events", "422 topic-name-invalid", "1"],
  ["POST /topics/*/events", "422 topic-name-invalid", "1"],
  [`POST /topics/${"t".repeat(129)}/events`, "422 topic-name-invalid", "1"],
  [`POST /topics/${"t".repeat(128)}/events`, `201 #10 ${"t".repeat(128)} local`, "1"],
  ["POST /topics/$mine/events", "403 topic-reserved", "1"],
  ["POST /topics/$/events", "422 topic-name-invalid", "1"],
  ["POST /topics/%zz/events", "400 path-invalid", "1"],
  ["POST /topics//events", "404 no-such-route", "1"],
  ["POST /topics/door/events?limit=1", "400 query-invalid", "1"],
  ["PUT /topics/door/events", "405 method-not-allowed", "1"],
  ["PATCH /events", "405 method-not-allowed", "1"],
  ["DELETE /events", "405 method-not-allowed"],

  // History.
  ["GET /topics/door/events", "200 #1, #2, #5, #8"],
  ["GET /topics/a%2Fb/events", "200 #3, #4"],
  ["GET /topics/nothing/events", "200 none"],
  ["GET /topics/door/events?limit=3", "200 #1, #2, #5; next /topics/door/events?after=#5&limit=3"],
  ["GET /topics/door/events?after=#5&limit=3", "200 #8"],
  ["GET /topics/door/events?limit=4", "200 #1, #2, #5, #8"],
  ["GET /topics/door/events?since=all&limit=1", "200 #1; next /topics/door/events?after=#1&limit=1"],
  ["GET /topics/door/events?since=1h30m", "200 #1, #2, #5, #8"],
  ["GET /topics/door/events?since=7d", "200 #1, #2, #5, #8"],
  ["GET /topics/door/events?since=2026-01-01T00:00:00Z&limit=1", "200 #1; next /topics/door/events?after=#1&limit=1"],
  ["GET /topics/door/events?since=2999-01-01T00:00:00Z", "200 none"],
  ["GET /topics/door/events?since=latest", "200 #8"],
  ["GET /topics/door/events?since=#2", "200 #5, #8"],
  ["GET /events?topic=door&topic=a/b&topic=door&limit=2", "200 #1, #2; next /events?after=#2&limit=2&topic=door&topic=a%2Fb"],
  ["GET /events?topic=door&topic=x&since=latest&limit=1", "200 #6, #8"],
  ["GET /topics/door/events?limit=0", "400 query-invalid"],
  ["GET /topics/door/events?limit=1001", "400 query-invalid"],
  ["GET /topics/door/events?limit=ten", "400 query-invalid"],
  ["GET /topics/door/events?limit=", "400 query-invalid"],
  ["GET /topics/door/events?since=", "400 query-invalid"],
  ["GET /topics/door/events?since=yesterday", "400 query-invalid"],
  ["GET /topics/door/events?since=2026-01-01", "400 query-invalid"],
  ["GET /topics/door/events?since=all&after=#1", "400 query-invalid"],
  ["GET /topics/door/events?colour=red", "400 query-invalid"],
  ["GET /topics/door/events?topic=door", "400 query-invalid"],
  ["GET /topics/door/events?after=1", "400 position-invalid"],
  ["GET /topics/door/events?after=#future", "410 position-foreign"],
  ["GET /topics/door/events?since=#future", "410 position-foreign"],
  ["GET /topics/door/events?after=ffffffffff.1", "410 position-foreign"],
  ["GET /topics/do%20or/events", "422 topic-name-invalid"],
  ["GET /events", "400 query-invalid"],
  [`GET /events?${Array.from({ length: 65 }, (_, i) => "topic=t" + i).join("&")}`, "400 query-invalid"],

  // Streams.
  ["GET /events?topic=door&topic=x&topic=door", "200 hello [door, x] from #10", , stream],
  ["GET /topics/door/events?lossless=1", "200 hello [door] from #10, lossless", , { Accept: "application/json, Text/Event-Stream" }],
  ["GET /topics/door/events?lossless=0", "200 hello [door] from #10", , stream],
  ["GET /topics/door/events?since=latest", "200 hello [door] from #10", , stream],
  ["GET /topics/a%2Fb/events?since=all", "200 hello [a/b] from #2", , stream],
  ["GET /topics/a%2Fb/events?since=#3", "200 hello [a/b] from #3, resumed", , stream],
  ["GET /topics/door/events?last_event_id=#2&since=all", "200 hello [door] from #2, resumed", , stream],
  ["GET /topics/door/events?last_event_id=#5", "200 hello [door] from #2, resumed", , { ...stream, "Last-Event-ID": "#2" }],
  ["GET /topics/door/events", "200 hello [door] from #10", , { ...stream, "Last-Event-ID": "#future" }],
  ["GET /topics/door/events", "200 hello [door] from #10", , { ...stream, "Last-Event-ID": "nonsense" }],
  ["GET /topics/door/events?last_event_id=nonsense", "400 position-invalid", , stream],
  ["GET /topics/door/events?since=yesterday", "400 query-invalid", , stream],
  ["GET /topics/door/events?latest=x", "400 query-invalid", , stream],
  ["GET /topics/door/events?colour=red", "400 query-invalid", , stream],
  ["GET /events", "400 query-invalid", , stream],
  ["GET /events?topic=do%20or", "422 topic-name-invalid", , stream],
];

/** The requests of the table, and what a node answers. */
export const expected = rows.map(([request, answer, body]) => line(request, body, answer));

function line(request: string, body = "", answer: string): string {
  return `${request.slice(0, 80)} ${body.slice(0, 60)} → ${answer}`;
}

/** play sends the requests of the table, and returns them with their answers, as in `expected`. */
export async function play(send: (path: string, init: RequestInit) => Promise<Response>): Promise<string[]> {
  const ids: string[] = [];
  const played: string[] = [];
  const named = (text: string): string =>
    text.replace("#future", () => ids.at(-1)!.replace(/\d+$/, (n) => "" + (Number(n) + 1000))).replace(/#(\d+)/g, (_, n) => ids[n - 1]!);
  for (const [request, , body, headers = body === undefined ? {} : type("application/json")] of rows) {
    const [method, path] = request.split(" ") as [string, string];
    const sent = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, named(value)]));
    const answer = await send("/v1/apps/default" + named(path), { method, body: body ?? null, headers: sent }).then(told, (error) => "throws " + error);
    for (const [id] of answer.matchAll(/\b[0-9a-f]{10}\.\d+/g)) if (method === "POST" && !ids.includes(id)) ids.push(id);
    const short = answer.replace(/\b[0-9a-f]{10}\.\d+/g, (id) => "#" + (ids.indexOf(id) + 1)).replace("/v1/apps/default", "");
    played.push(line(request, body, short));
  }
  return played;
}

const publishedKeys = "durability,id,published_at,topic";
const eventKeys = "data,durability,id,published_at,source,topic";
const time = /^[\d-]+T[\d:]+\.\d{6}Z$/;

/** told describes an answer in one line; an answer of an unknown shape is shown as JSON. */
async function told(response: Response): Promise<string> {
  const kind = response.headers.get("Content-Type")!;
  if (kind.startsWith("text/event-stream")) return response.status + " hello " + (await hello(response));
  const text = await response.text();
  const body = JSON.parse(text);
  const isProblem = kind === "application/problem+json" && body.status === response.status && body.title;
  if (isProblem) return `${body.status} ${body.type.replace("urn:picloud:problem:", "")}`;
  const is = (event: Record<string, unknown>, keys: string): boolean =>
    Object.keys(event).sort().join() === keys && time.test("" + event.published_at);
  const published = (event: Record<string, unknown>): string => (is(event, publishedKeys) ? `${event.id} ${event.topic} ${event.durability}` : text);
  if (Array.isArray(body)) return `${response.status} [${body.map(published).join(", ")}]`;
  if (!body.events) return `${response.status} ${published(body)}`;
  const events = body.events.map((event: Record<string, unknown>) => (is(event, eventKeys) ? event.id : JSON.stringify(event)));
  return `${response.status} ${events.join(", ") || "none"}${body.next === null ? "" : "; next " + body.next}`;
}

/** hello says what the first frame of a stream does. */
async function hello(response: Response): Promise<string> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("\n\n")) text += (await reader.read()).value;
  await reader.cancel();
  const { topics, resume, resumed, lossless } = JSON.parse(/^event: hello\ndata: (.*)$/m.exec(text)![1]!);
  return `[${topics.join(", ")}] from ${resume}${resumed ? ", resumed" : ""}${lossless ? ", lossless" : ""}`;
}
