import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** What a server knows of a request for a stream. */
export interface Asked {
  readonly path: string;
  readonly accept: string | undefined;
  readonly lastEventId: string | undefined;
  /** Milliseconds since the end of the answer before. */
  readonly after: number;
}

/** An answer that a scenario gives as it likes. */
export interface Answer {
  readonly asked: Asked;
  /** send writes each chunk by itself and lets the reader take it before the next one. */
  send(...chunks: (string | Uint8Array)[]): Promise<void>;
  /** end ends the answer as a node that stops does. */
  end(): void;
  /** cut resets the connection. */
  cut(): void;
  /** status answers with a status and no stream. */
  status(code: number, headers?: Record<string, string>, body?: string): void;
  /** type makes the stream say that it is of another type. */
  type(contentType: string): void;
}

/** What a scenario does with one request. */
export type Part = (answer: Answer) => void | Promise<void>;

/** turns lets the reader, which is in this process, take what has been written: a loopback has no delay but turns of the loop. */
export async function turns(n: number): Promise<void> {
  for (let i = 0; i < n; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** A server on a port of its own that answers each request by the next part, and those after the last one by the last. */
export interface ScenarioServer {
  readonly url: string;
  readonly asked: readonly Asked[];
  /** idle resolves when no answer is under way, since its reader has gone. */
  idle(): Promise<void>;
  close(): void;
}

/** serve starts a server for a scenario. */
export async function serve(parts: readonly Part[]): Promise<ScenarioServer> {
  const asked: Asked[] = [];
  const open = new Set<ServerResponse>();
  const sockets = new Set<Socket>();
  let streams = 0;
  let ended = performance.now();
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const path = new URL(request.url!, "http://localhost").pathname;
    const { accept, "last-event-id": lastEventId } = request.headers;
    const what: Asked = { path, accept, lastEventId: lastEventId as string | undefined, after: performance.now() - ended };
    const isRedirected = path === redirected;
    if (!isRedirected) asked.push(what);
    const part = parts[Math.min(isRedirected ? streams - 1 : streams++, parts.length - 1)]!;
    open.add(response);
    response.on("close", () => {
      open.delete(response);
      ended = performance.now();
    });
    let contentType = "text/event-stream";
    void part({
      asked: what,
      async send(...chunks) {
        if (!response.headersSent) response.writeHead(200, { "Content-Type": contentType, "Cache-Control": "no-store" });
        for (const chunk of chunks) {
          response.write(chunk);
          await turns(4);
        }
      },
      end: () => void response.end(),
      cut: () => void request.socket.resetAndDestroy(),
      status: (code, headers, body) => void response.writeHead(code, headers).end(body),
      type: (other) => void (contentType = other),
    });
  });
  server.on("connection", (socket) => {
    socket.setNoDelay(true);
    sockets.add(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: "http://127.0.0.1:" + (server.address() as AddressInfo).port,
    asked,
    async idle() {
      while (open.size) await once([...open][0]!, "close");
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** Where scenarios redirect to; requests there are no requests of the client's own. */
export const redirected = "/elsewhere";
