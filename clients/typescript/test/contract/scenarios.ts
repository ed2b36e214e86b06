import { type Answer, type Part, redirected, turns } from "./server.js";

/** What a node sends, and what a client must make of it: the standard of Server-Sent Events or, where the two differ, docs/protocol.md. */
export interface Scenario {
  readonly name: string;
  readonly parts: readonly Part[];
  /** The data of the events that are to be told, in order; "unreadable" for a block that is no event. */
  readonly events: readonly unknown[];
  /** The id that each request has to resume after, from the second one on; undefined: none. */
  readonly resumes?: readonly (string | undefined)[];
  /** Milliseconds that have to pass before the second request. */
  readonly pause?: number;
  /** Whether the client has to end for good, or may. */
  readonly ends?: boolean | "either";
}

/** idOf returns the id of the event of a number. */
export const idOf = (n: number): string => "0000000001." + n;

const envelope = (data: unknown): string => JSON.stringify({ topic: "t", data, published_at: "2026-01-02T03:04:05.000006Z", source: "key:1" });

/** hello is the first frame of a stream; `eol` ends its lines. */
const hello = ({ asked }: Answer, eol = "\n", retry = "10"): string => {
  const resume = asked.lastEventId ?? idOf(0);
  const body = { node: "n", app: "a", topics: ["t"], heartbeat_sec: 30, resume, resumed: asked.lastEventId !== undefined, lossless: false };
  return ["event: hello", "retry: " + retry, "data: " + JSON.stringify(body), "", ""].join(eol);
};

/** event is the frame of an event, without an id where n is undefined. */
const event = (data: unknown, n?: number, eol = "\n"): string =>
  [...(n === undefined ? [] : ["id: " + idOf(n)]), "data: " + envelope(data), "", ""].join(eol);

/** The event that each scenario ends with; runs wait for it. */
export const done = "done";

const finish: Part = (answer) => answer.send(hello(answer), event(done, 999_999));

/** stream answers with chunks, after `hello`, and `done` after them. */
const stream = (...chunks: (string | Uint8Array)[]): Part[] => [(answer) => answer.send(hello(answer), ...chunks, event(done, 999_999))];

/** broken answers with chunks, ends, and sends `done` to the request after that. */
const broken = (how: "end" | "cut", ...chunks: string[]): Part[] => [
  async (answer) => {
    await answer.send(hello(answer), ...chunks);
    await turns(50);
    answer[how]();
  },
  finish,
];

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** pieces cuts text into chunks of so many bytes. */
const pieces = (text: string, size: number): Uint8Array[] => {
  const all = bytes(text);
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, i * size + size));
};

const lineEnds: Scenario[] = Object.entries({ LF: "\n", CR: "\r", CRLF: "\r\n" }).map(([name, eol]) => ({
  name: "lines end in " + name,
  parts: [(answer) => answer.send(hello(answer, eol) + event(1, 1, eol) + event(2, 2, eol) + event(done, 3, eol) + event("after", 4, eol))],
  events: [1, 2],
}));

const cut: Scenario[] = [1, 2, 3, 7].map((size) => ({
  name: `chunks of ${size} bytes`,
  parts: [(answer) => answer.send(...pieces(hello(answer) + event("é🙂\u2028", 1) + event(2, 2, "\r\n") + event(3, 3, "\r") + event(done, 4) + "\n", size))],
  events: ["é🙂\u2028", 2, 3],
}));

const problem = (status: number, headers?: Record<string, string>): Part => (answer) =>
  answer.status(status, { "Content-Type": "application/problem+json", ...headers }, `{"type":"urn:picloud:problem:refused","status":${status}}`);

const statuses: Scenario[] = [400, 403, 404, 410].map((status) => ({
  name: `${status} is the end`,
  parts: [problem(status), finish],
  events: [],
  ends: true,
}));

const busy: Scenario[] = [
  [429, 0],
  [500, 0],
  [503, 1],
].map(([status, seconds]) => ({
  name: `${status} is tried again after ${seconds} s, which Retry-After says`,
  parts: [problem(status!, { "Retry-After": "" + seconds }), finish],
  events: [],
  pause: seconds! * 1000,
}));

const redirects: Scenario[] = [301, 302, 303, 307, 308].map((status) => ({
  name: `${status} is followed, and forgotten`,
  parts: [
    async (answer) => {
      if (answer.asked.path !== redirected) return answer.status(status, { Location: redirected });
      await answer.send(hello(answer), event(1, 1));
      await turns(50);
      answer.end();
    },
    finish,
  ],
  events: [1],
  resumes: [idOf(1)],
}));

const many = Array.from({ length: 5000 }, (_, i) => i);
const mebibyte = "x".repeat(1 << 20);

/** All scenarios. */
export const scenarios: Scenario[] = [
  ...lineEnds,
  ...cut,
  {
    name: "lines end in what they like",
    parts: stream(`id: ${idOf(1)}\rdata: ${envelope(1)}\r\n\n`, `id: ${idOf(2)}\ndata: ${envelope(2)}\n\r`, `data: ${envelope(3)}\r\n\r\n`),
    events: [1, 2, 3],
  },
  { name: "CRLF is cut between CR and LF", parts: stream(`data: ${envelope(1)}\r`, "\n\r", `\ndata: ${envelope(2)}\r`, "\n\r", "\n"), events: [1, 2] },
  {
    name: "an event that a lone CR ends is told at once",
    parts: [
      async (answer) => {
        await answer.send(hello(answer), `data: ${envelope(1)}\r\r`);
        await turns(200);
        answer.cut(); // what has not been told is lost
      },
      finish,
    ],
    events: [1],
  },
  { name: "a byte order mark begins the stream", parts: [(answer) => answer.send("\uFEFF" + hello(answer), event(1, 1), event(done, 2))], events: [1] },
  {
    name: "a byte order mark is cut",
    parts: [(answer) => answer.send(...pieces("\uFEFF" + hello(answer), 1).slice(0, 4), bytes("\uFEFF" + hello(answer)).slice(4), event(1, 1), event(done, 2))],
    events: [1],
  },
  { name: "a byte order mark counts at the beginning alone", parts: stream(`\uFEFFdata: ${envelope(1)}\n\n`, event(2)), events: [2] },
  {
    name: "bytes that are no UTF-8",
    parts: stream(bytes(event("a#b", 1)).map((byte) => (byte === 35 ? 0xff : byte)), event("c", 2)),
    events: ["a\uFFFDb", "c"],
  },
  {
    name: "comments, also inside of an event",
    parts: stream(": a\n:\n\n", `: b\nid: ${idOf(1)}\n:data: ${envelope(7)}\ndata: ${envelope(1)}\n:c\n\n`),
    events: [1],
  },
  { name: "data of several lines", parts: stream('data: {"topic":"t",\ndata:"data":1,"published_at":null,\ndata: "source":"s"}\n\n'), events: [1] },
  {
    name: "lines of data are joined by LF",
    parts: stream('data: {"topic":"t","data":1\ndata:2,"published_at":null,"source":"s"}\n\n', event(3)),
    events: ["unreadable", 3],
  },
  { name: "a line of data without a colon", parts: stream(`data\ndata: ${envelope(1)}\ndata\n\n`), events: [1] },
  { name: "no blank after the colon", parts: stream(`id:${idOf(1)}\ndata:${envelope(1)}\n\n`), events: [1] },
  {
    name: "names of fields are exact",
    parts: stream(`Data: ${envelope(1)}\n\n`, ` data: ${envelope(2)}\n\n`, `datas: ${envelope(3)}\n\n`, `dat: ${envelope(4)}\n\n`, event(5)),
    events: [5],
  },
  { name: "unknown fields", parts: stream(`id: ${idOf(1)}\nfoo: bar\ntime: 1\nwhen\ndata: ${envelope(1)}\n\n`), events: [1] },
  { name: "blocks without data are no events", parts: stream("\n\n\n", "event: a\n\n", "foo\n\n", event(1)), events: [1] },
  {
    name: "a name counts for its block alone",
    parts: stream(`event: other\ndata: ${envelope(1)}\n\n`, event(2), "event: other\n\n", event(3)),
    events: [2, 3],
  },
  { name: "the last name of a block counts", parts: stream(`event: a\nevent: other\ndata: ${envelope(1)}\n\n`, event(2)), events: [2] },
  {
    name: "an empty name is none",
    parts: stream(`event\ndata: ${envelope(1)}\n\n`, `event:\ndata: ${envelope(2)}\n\n`, `event: other\nevent: \ndata: ${envelope(3)}\n\n`),
    events: [1, 2, 3],
  },
  { name: "the name message is none", parts: stream(`event: message\ndata: ${envelope(1)}\n\n`), events: [1] },
  { name: "5 000 events at once", parts: stream(many.map((n) => event(n, n + 1)).join("")), events: many },
  { name: "a line of 1 MiB", parts: stream(...pieces(event(mebibyte, 1), 1 << 16)), events: [mebibyte] },
  {
    name: "a block of more than 4 MiB is not kept",
    parts: [(answer) => answer.send(hello(answer), event(1, 1), ...pieces(event(mebibyte.repeat(5), 2), 1 << 18), event(done, 3)), finish],
    events: [1],
    resumes: [idOf(1)],
  },
  { name: "it comes back after an end, with the last id", parts: broken("end", event(1, 1), event(2, 2)), events: [1, 2], resumes: [idOf(2)] },
  {
    name: "it comes back after a reset of the connection, with the last id",
    parts: broken("cut", event(1, 1), event(2, 2)),
    events: [1, 2],
    resumes: [idOf(2)],
  },
  {
    name: "an event that has not ended is not told, and its id not kept",
    parts: broken("end", event(1, 1), event(2, 2).slice(0, -1)),
    events: [1],
    resumes: [idOf(1)],
  },
  { name: "an event that is cut in its data is not told", parts: broken("cut", event(1, 1), event(2, 2).slice(0, -9)), events: [1], resumes: [idOf(1)] },
  {
    name: "nothing of a broken stream is joined to the next one",
    parts: [
      async (answer) => {
        await answer.send(hello(answer), event(1, 1), `id: ${idOf(2)}\nevent: other\ndata: ${envelope(2)}\ndata: {`);
        await turns(50);
        answer.end();
      },
      (answer) => answer.send(hello(answer), event(3, 3), event(done, 4)),
    ],
    events: [1, 3],
    resumes: [idOf(1)],
  },
  {
    name: "an id counts for the events after it, too",
    parts: broken("end", event(1, 1), event(2), ": heartbeat\n\n", event(3)),
    events: [1, 2, 3],
    resumes: [idOf(1)],
  },
  { name: "an id without data counts", parts: broken("end", event(1, 1), `id: ${idOf(7)}\n\n`), events: [1], resumes: [idOf(7)] },
  { name: "the last id of a block counts", parts: broken("end", `id: ${idOf(1)}\nid: ${idOf(2)}\ndata: ${envelope(1)}\n\n`), events: [1], resumes: [idOf(2)] },
  {
    name: "an id with NUL is none",
    parts: broken("end", event(1, 1), `id: ${idOf(2)}\0\ndata: ${envelope(2)}\n\n`, `id: \0\ndata: ${envelope(3)}\n\n`),
    events: [1, 2, 3],
    resumes: [idOf(1)],
  },
  { name: "an empty id forgets the one before", parts: broken("end", event(1, 1), `id\ndata: ${envelope(2)}\n\n`), events: [1, 2], resumes: [undefined] },
  {
    name: "the id is kept over two breaks",
    parts: [...broken("end", event(1, 1)).slice(0, 1), ...broken("cut", event(2))],
    events: [1, 2],
    resumes: [idOf(1), idOf(1)],
  },
  {
    name: "retry is waited for",
    parts: [
      async (answer) => {
        await answer.send(hello(answer, "\n", "400"), event(1, 1));
        answer.end();
      },
      finish,
    ],
    events: [1],
    pause: 400,
  },
  {
    name: "a retry that is no number is none",
    parts: [
      async (answer) => {
        await answer.send(hello(answer, "\n", "300"), "retry: 1x\n\nretry: -2\n\nretry: 3.5\n\nretry: 1e1\n\nretry:\n\n", event(1, 1));
        answer.end();
      },
      finish,
    ],
    events: [1],
    pause: 300,
  },
  { name: "204 is the end", parts: [(answer) => answer.status(204), finish], events: [], ends: true },
  {
    name: "204 is the end of a client that comes back, too",
    parts: [...broken("end", event(1, 1)).slice(0, 1), (answer) => answer.status(204), finish],
    events: [1],
    ends: true,
  },
  ...statuses,
  ...busy,
  ...redirects,
  {
    name: "nothing of an answer of another type is told",
    parts: [
      async (answer) => {
        answer.type("text/html");
        await answer.send(`<h1>Sign in to the network</h1>\n\n${event("portal", 1)}`);
        await turns(50);
        answer.end();
      },
      finish,
    ],
    events: [],
    ends: "either",
  },
];
