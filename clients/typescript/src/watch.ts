import type { Client, State } from "./client.js";
import type { PicloudError } from "./errors.js";
import type { Topic, TopicEvent, TopicOptions } from "./topic.js";

/** What is known of a topic: what a component shows. A new object for each change. */
export interface TopicView<D, T = D> {
  /** The data of the newest event, or what `reduce` has made of all. */
  readonly data: D | undefined;
  readonly last: TopicEvent<T> | undefined;
  /** What the client is doing. */
  readonly state: State;
  /** The view may be out of date: the stream is not open. */
  readonly stale: boolean;
  /** Why the topic has ended. */
  readonly error: PicloudError | undefined;
}

/** What a view may be told beyond what a topic may. */
export interface ViewOptions<D, T> extends TopicOptions<T> {
  /** Shown until the first event. */
  initial?: D | undefined;
  /** Makes the new data of the data before and an event; if not given, the new data are those of the event. */
  reduce?: ((data: D | undefined, event: TopicEvent<T>) => D) | undefined;
}

/** A view that reads its topic while it is watched. */
export interface Watch<D, T> {
  readonly view: TopicView<D, T>;
  /** subscribe calls the listener when view is another one, until the function that it returns is called. */
  subscribe(listener: () => void): () => void;
}

/**
 * watch returns a view of a topic, which is read from the first subscription on. It ends one turn of the event loop after the last one has gone: a
 * component that is taken out and put back at once, as React's StrictMode does it, keeps its topic.
 */
export function watch<D, T>(client: Client, name: string, options: ViewOptions<D, T>): Watch<D, T> {
  const { initial, reduce = (_: D | undefined, event: TopicEvent<T>) => event.data as unknown as D } = options;
  const listeners = new Set<() => void>();
  let view: TopicView<D, T> = { data: initial, last: undefined, state: client.state, stale: client.state.stale, error: undefined };
  let topic: Topic<T> | undefined;
  let offState: () => void;
  let ending: ReturnType<typeof setTimeout> | undefined;

  const show = (change: Partial<TopicView<D, T>>): void => {
    view = { ...view, ...change };
    for (const listener of [...listeners]) listener();
  };
  const begin = (): void => {
    const own = (topic = client.topic<T>(name, options));
    own.on("event", (event) => show({ data: reduce(view.data, event), last: event }));
    own.on("close", (error) => own === topic && show({ error }));
    offState = client.on("state", (state) => show({ state, stale: state.stale }));
    view = { ...view, state: client.state, stale: client.state.stale, error: undefined };
  };
  const end = (): void => {
    const own = topic;
    topic = undefined;
    offState();
    own?.close();
  };

  return {
    get view() {
      return view;
    },
    subscribe(listener) {
      const own = (): void => listener();
      clearTimeout(ending);
      if (topic && view.error && !listeners.size) end(); // it is over: there is nothing to keep
      listeners.add(own);
      if (!topic) begin();
      return () => {
        if (listeners.delete(own) && !listeners.size) ending = setTimeout(end);
      };
    },
  };
}
