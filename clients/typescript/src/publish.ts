import type * as api from "./api.js";
import { ask, type CallOptions } from "./call.js";
import { type Http, jsonOf, segment } from "./http.js";

/** An event that is to be published. */
export interface Draft<T = unknown> {
  readonly topic: string;
  readonly data: T;
}

/** What the node says of an event that it has taken. */
export interface Published {
  readonly id: string;
  readonly topic: string;
  readonly publishedAt: Date;
  /** `local`: on the node's card; `pending`: within a second; `central`: in Postgres, too. */
  readonly durability: string;
}

/** What publishing may be told. */
export interface PublishOptions extends CallOptions {
  /** With the same key, topics and data are published once, however often they are sent within a day. */
  idempotencyKey?: string | undefined;
}

/** post sends JSON, and returns an answer that `is` takes. */
function post<T>(http: Http, path: string, body: unknown, is: (answer: T) => unknown, options?: PublishOptions): Promise<T> {
  return ask<T>(http, path, { method: "POST", body: jsonOf(body) }, options, is);
}

/** publishedOf makes the public form of the node's answer. */
function publishedOf({ id, topic, published_at, durability }: api.Published): Published {
  return { id, topic, publishedAt: new Date(published_at!), durability };
}

/** publishAll publishes events in one commit, all or none. */
export async function publishAll(http: Http, path: string, drafts: readonly Draft[], options?: PublishOptions): Promise<Published[]> {
  return (await post<api.Published[]>(http, path + "/events", drafts, (all) => all.length === drafts.length, options)).map(publishedOf);
}

/** publish publishes one event. */
export async function publish(http: Http, path: string, topic: string, data: unknown, options?: PublishOptions): Promise<Published> {
  return publishedOf(await post<api.Published>(http, path + "/topics/" + segment(topic) + "/events", data, ({ id }) => id, options));
}
