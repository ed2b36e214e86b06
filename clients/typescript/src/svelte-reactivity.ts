/**
 * `@picloud/client/svelte/reactivity`: topics for components of Svelte 5 (5.7 or newer) with runes. It is not compiled, and read on a server it
 * shows the first value and asks nobody.
 *
 * @packageDocumentation
 */
import { createSubscriber } from "svelte/reactivity";
import type { Client, State } from "./client.js";
import type { PicloudError } from "./errors.js";
import type { TopicEvent } from "./topic.js";
import { type TopicView, type ViewOptions, type Watch, watch } from "./watch.js";

export type { TopicView, ViewOptions } from "./watch.js";

/**
 * ReactiveTopic is a topic whose fields are reactive: a template, an `$effect` or a `$derived` that reads one of them runs again when it changes. The
 * topic is read from the node while at least one effect depends on it, and not after the last one is gone.
 */
export class ReactiveTopic<T = unknown, D = T> implements TopicView<D, T> {
  private readonly own: Watch<D, T>;
  private readonly depend: () => void;

  constructor(client: Client, name: string, options: ViewOptions<D, T> = {}) {
    this.own = watch<D, T>(client, name, options);
    this.depend = createSubscriber((update) => this.own.subscribe(update));
  }

  private get view(): TopicView<D, T> {
    this.depend();
    return this.own.view;
  }

  /** The data of the newest event, or what `reduce` has made of all. */
  get data(): D | undefined {
    return this.view.data;
  }

  get last(): TopicEvent<T> | undefined {
    return this.view.last;
  }

  /** What the client is doing. */
  get state(): State {
    return this.view.state;
  }

  /** The view may be out of date: the stream is not open. */
  get stale(): boolean {
    return this.view.stale;
  }

  /** Why the topic has ended. */
  get error(): PicloudError | undefined {
    return this.view.error;
  }
}
