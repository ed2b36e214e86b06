import type * as api from "./api.js";
import type { TopicEvent } from "./topic.js";

/** An event as it comes from the node, in the history or on a stream. */
export type Envelope = Pick<api.Event, "topic" | "data" | "published_at" | "source" | "clock"> & { id?: string; node?: string };

/** eventOf makes the public form of an event; id is that of its frame. */
export function eventOf<T>({ published_at, clock, ...rest }: Envelope, id = rest.id): TopicEvent<T> {
  return { ...rest, data: rest.data as T, publishedAt: new Date(published_at!), ...(id && { id }), ...(clock && { unsynced: true }) };
}
