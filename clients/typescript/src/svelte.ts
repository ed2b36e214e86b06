/**
 * `@picloud/client/svelte`: a store for Svelte 4 and 5. In a component `$door` is the view; it is read while something subscribes, and never on
 * a server, where stores are read once.
 *
 * @packageDocumentation
 */
import type { Client } from "./client.js";
import { type TopicView, type ViewOptions, watch } from "./watch.js";

export type { TopicView, ViewOptions } from "./watch.js";

/** A store as Svelte wants it. */
export interface TopicStore<D, T> {
  /** subscribe calls run with the view, now and whenever it is another one, until the function that it returns is called. */
  subscribe(run: (view: TopicView<D, T>) => void): () => void;
}

/** topicStore returns a store of a topic. */
export function topicStore<T = unknown, D = T>(client: Client, name: string, options: ViewOptions<D, T> = {}): TopicStore<D, T> {
  const store = watch<D, T>(client, name, options);
  return {
    subscribe(run) {
      if (typeof window === "undefined") {
        run(store.view);
        return () => {};
      }
      const off = store.subscribe(() => run(store.view));
      run(store.view);
      return off;
    },
  };
}
