import type * as api from "./api.js";
import { call, type CallOptions, type Http } from "./http.js";
import type { Since, TopicEvent } from "./topic.js";

/** What reading the history may be told. */
export interface HistoryOptions extends CallOptions {
  /** Where to begin; at the oldest event, if not given. */
  since?: Since | undefined;
  /** Events of one request, 1 to 1000; 100 if not given. */
  page?: number | undefined;
}

/** An event as it comes from the node, in the history or on a stream. */
export type Envelope = Pick<api.Event, "topic" | "data" | "published_at" | "source" | "clock"> & { id?: string; node?: string };

/** eventOf makes the public form of an event; id is that of its frame. */
export function eventOf<T>(body: Envelope, id = body.id): TopicEvent<T> {
  const { topic, data, published_at, source, node, clock } = body;
  return {
    topic,
    data: data as T,
    publishedAt: new Date(published_at!),
    source,
    ...(id && { id }),
    ...(node && { node }),
    ...(clock && { unsynced: true }),
  };
}

/** history reads the events of a topic that are kept, oldest first, page by page as they are taken. */
export async function* history<T>(http: Http, path: string, topic: string, options: HistoryOptions = {}): AsyncGenerator<TopicEvent<T>, void, undefined> {
  const { since = "all", page = 100 } = options;
  const from = since instanceof Date ? since.toISOString() : since;
  let next: string | null = path + "/topics/" + encodeURIComponent(topic) + "/events?" + new URLSearchParams({ since: from, limit: "" + page });
  while (next) {
    const answer: api.History = await call(http, next, { headers: { Accept: "application/json" } }, options);
    for (const body of answer.events) yield eventOf<T>(body);
    next = answer.next;
  }
}
