import type * as api from "./api.js";
import { ask, type CallOptions } from "./call.js";
import { eventOf } from "./event.js";
import { type Http, segment } from "./http.js";
import type { Since, TopicEvent } from "./topic.js";

/** What reading the history may be told. */
export interface HistoryOptions extends CallOptions {
  /** Where to begin; at the oldest event, if not given. */
  since?: Since | undefined;
  /** Events of one request, 1 to 1000; 100 if not given. */
  page?: number | undefined;
}

/** history reads the events of a topic that are kept, oldest first, page by page as they are taken. */
export async function* history<T>(http: Http, path: string, topic: string, options: HistoryOptions = {}): AsyncGenerator<TopicEvent<T>, void, undefined> {
  const { since = "all", page = 100 } = options;
  const from = since instanceof Date ? since.toJSON() : since; // null, which the node refuses, where it is no date
  let next: string | null = path + "/topics/" + segment(topic) + "/events?" + new URLSearchParams({ since: from, limit: "" + page });
  while (next) {
    const answer: api.History = await ask<api.History>(http, next, { headers: { Accept: "application/json" } }, options, ({ events }) => events);
    for (const body of answer.events) yield eventOf<T>(body);
    next = answer.next;
  }
}
